"""Where the folder's master key rests, and how it comes into this process.

The item is one key, in the keychain or, once allowed, in the key file; never one in each but for the
moment of moving, when both are equal. A rotation is three steps, each whole or not at all: keep the old
key and the new one, seal every row anew in one transaction, keep the new one alone. Rows name the key they
were sealed with, so after a kill between two steps everything opens, and the next rotation goes on from there.
"""

import asyncio
import errno
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from salver_server.clock import Clock
from salver_server.errors import Conflict, NeedsUser
from salver_server.secrets import seal
from salver_server.secrets.asking import Asking, NoAnswer, within
from salver_server.secrets.keychain import Keychain, KeychainError
from salver_server.secrets.keyfile import KeyFile
from salver_server.secrets.seal import Keys, KeyVersion, NoKeys
from salver_server.secrets.standing import KeychainState, Standing, VaultShut

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

LIMIT = 20.0
"""Seconds that a caller waits for a prompt to be answered; the prompt stays."""


class KeyHolder:
    def __init__(
        self,
        *,
        keychain: Keychain,
        file: KeyFile,
        clock: Clock,
        needed: Callable[[], Awaitable[set[KeyVersion]]],
    ) -> None:
        self._keychain = keychain
        self._file = file
        self._clock = clock
        self._needed = needed
        """The keys that it takes to open everything there is."""
        self._asking = Asking(clock)
        self._writing = Asking(clock)
        """For the file, which has not to wait behind a prompt."""
        self._free = asyncio.Event()
        self._free.set()
        self._last = Standing(state="unasked")
        self.keys: Keys | None = None
        """What this process holds; None until somebody needed it."""

    def standing(self) -> Standing:
        """As far as it is known; asks nobody."""
        if self._last.state == "waiting" and not self._asking.is_open:
            self._last = Standing(state="unasked")  # answered, and nobody has seen how
        if self._last.state in ("unasked", "ready") and self._file.exists():
            return Standing(state="file")
        return self._last

    async def hold(self, *, make: bool) -> None:
        """Have the keys in `self.keys`; if there are none, made when told to. Raises `VaultShut`."""
        if self.keys is not None:
            return
        async with self._turn() as until:
            if self.keys is not None:
                return
            place = self._place()
            keys = await self._fetch(place, until)
            if keys is None and make:
                keys = seal.new_keys()
                await self._keep(place, keys, until)
                logger.info("master key made", extra={"version": keys.newest.version})
            self.keys = keys

    async def allow_file(self) -> None:
        """Consent to the key file; it is made only if the keychain can't be had and no secret is kept."""
        async with self._turn() as until:
            if self._file.exists():
                self.keys = await self._fetch(self._file, until)
                return
            try:
                self.keys = await self._fetch(self._keychain, until)
                return
            except VaultShut as exc:
                if exc.standing.state not in ("locked", "absent", "refused"):
                    # Above all while a prompt is open: what is being written might still get there.
                    raise
                why = exc.standing
            if await self._needed():
                raise VaultShut(
                    "missing", "they are sealed by a key in a keychain that can't be had now"
                )
            keys = seal.new_keys()
            await self._run(self._file, lambda: self._file.create(seal.written(keys)), until)
            self.keys, self._last = keys, Standing(state="file")
            logger.warning(
                "master key made in a file",
                extra={"version": keys.newest.version, "why": why.state},
            )

    async def move_to_keychain(self) -> None:
        """Let the key rest in the keychain; the file goes only once the keychain has shown the key again."""
        async with self._turn() as until:
            if not self._file.exists():
                self.keys = await self._fetch(self._keychain, until)
                return
            keys = await self._fetch(self._file, until)
            assert keys is not None, "the file was there a moment ago"
            there = await self._run(self._keychain, self._keychain.get, until)
            if there is None:
                await self._keep(self._keychain, keys, until)
            elif there != seal.written(keys):
                raise Conflict(
                    "Your keychain holds another key for this folder than secrets.key, and Salver keeps only one."
                    " Your secrets are sealed by the one in the file. If nothing needs the other, delete the item"
                    " 'Salver' in your keychain's own app, then move the key again."
                )
            await self._run(self._file, self._file.delete, until)
            self.keys, self._last = keys, Standing(state="ready")
            logger.info("master key moved", extra={"version": keys.newest.version})

    async def rotate(self, reseal: Callable[[Keys], Awaitable[None]]) -> None:
        """A new key for everything, or the end of a rotation that was cut off."""
        async with self._turn() as until:
            place = self._place()
            # Read again, since an earlier try may have got further than it could see.
            keys = await self._fetch(place, until)
            if keys is None:
                return  # no key yet, so nothing is sealed
            if not keys.is_changing:
                keys = keys.with_successor()
                await self._keep(place, keys, until)
            self.keys = keys
            await reseal(keys)
            alone = keys.newest_alone()
            await self._keep(place, alone, until)
            self.keys = alone
            logger.info("master key rotated", extra={"version": alone.newest.version})

    def _place(self) -> Keychain:
        return self._file if self._file.exists() else self._keychain

    async def _fetch(self, place: Keychain, until: float) -> Keys | None:
        """The keys that rest there, if they open everything; None if none is there and none is needed."""
        item = await self._run(place, place.get, until)
        needed = await self._needed()
        if item is None:
            if needed:
                raise self._shut("missing")
            keys = None
        else:
            try:
                keys = seal.read(item)
            except NoKeys as exc:
                raise self._shut(
                    "missing", f"what lies where the key should be is no key, {exc}"
                ) from None
            if not needed <= keys.versions:
                raise self._shut("missing", "the key that is here is not the one that sealed them")
        self._last = Standing(state="file" if place is self._file else "ready")
        return keys

    async def _keep(self, place: Keychain, keys: Keys, until: float) -> None:
        """Have the keys rest there, and see that they do."""
        item = seal.written(keys)
        await self._run(place, lambda: place.set(item), until)
        if await self._run(place, place.get, until) != item:
            raise self._shut("refused", "it did not give back what it was given to keep")

    async def _run(self, place: Keychain, call: Callable[[], Result], until: float) -> Result:
        try:
            asking = self._writing if place is self._file else self._asking
            return await asking.ask(call, until=until)
        except NoAnswer:
            raise self._shut("waiting") from None
        except KeychainError as exc:
            raise self._shut(exc.why, str(exc)) from None
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NeedsUser(
                    "The disk is full, so the key of your secrets was not written. Free some disk space and try again."
                ) from exc
            raise self._shut("refused", f"{exc.strerror}: {self._file.path}") from exc

    def _shut(self, state: KeychainState, reason: str = "") -> VaultShut:
        shut = VaultShut(state, reason)
        self._last = shut.standing
        return shut

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[float]:
        """One at a time; gives the time until which it may last."""
        until = self._clock.elapsed() + LIMIT
        while not self._free.is_set():
            if not await within(self._clock, until, self._free):
                raise VaultShut("waiting")
        self._free.clear()
        try:
            yield until
        finally:
            self._free.set()
