"""What one sandbox may knock at: its line and its gateway, two sockets in a folder of its own."""

import asyncio

from salver_server.accounts import Choice
from salver_server.sessions.folders import Folders, make, remove
from salver_server.sessions.house import House
from salver_server.sessions.line import Heard, Line
from salver_server.sessions.store import Session


class Entrance:
    def __init__(
        self, house: House, session: Session, generation: int, place: Folders, heard: Heard
    ) -> None:
        self._house = house
        self._session = session.id
        self._agent = session.agent
        self.place = place
        self.line = Line(session.id, generation, heard)

    async def open(self, token_hash: bytes, choice: Choice) -> None:
        """For whoever has the token, with the folders that a sandbox needs."""
        await asyncio.to_thread(make, self.place, self._house.identity)
        await self.line.open(self.place.line_socket, self._house.identity)
        await self._house.gate.open(
            self._session,
            self.place.gateway_socket,
            agent=self._agent,
            token_hash=token_hash,
            choice=choice,
        )

    async def shut(self) -> None:
        self.line.close()
        await self._house.gate.close(self._session)
        await asyncio.to_thread(remove, self.place)
