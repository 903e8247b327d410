"""What one sandbox may knock at: its line and its gateway, two sockets in a folder of its own."""

import asyncio

from salver_server.agents import Definition
from salver_server.ids import SessionId
from salver_server.sessions.folders import Folders, make, remove
from salver_server.sessions.house import House
from salver_server.sessions.line import Heard, Line


class Entrance:
    def __init__(
        self, house: House, session: SessionId, generation: int, place: Folders, heard: Heard
    ) -> None:
        self._house = house
        self._session = session
        self.place = place
        self.line = Line(session, generation, heard)

    async def open(self, token_hash: bytes, definition: Definition) -> None:
        """For whoever has the token, with the folders that a sandbox needs."""
        await asyncio.to_thread(make, self.place, self._house.identity)
        await self.line.open(self.place.line_socket, self._house.identity)
        await self._house.gate.open(
            self._session, self.place.gateway_socket, token_hash, definition
        )

    async def shut(self) -> None:
        self.line.close()
        await self._house.gate.close(self._session)
        await asyncio.to_thread(remove, self.place)
