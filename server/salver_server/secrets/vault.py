"""Secrets go in and come out here, each use on record; what lies in salver.db is sealed.

Sealing and opening happen inside the write that keeps or notes them: the writer is one, so no row slips
past a rotation, and nothing is handed out whose use is not on disk.
"""

import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from salver_server.clock import Clock, Stamp, stamp
from salver_server.errors import Missing, NeedsUser, Rejected
from salver_server.ids import SECRET_NAME, InstallId, SecretName, SessionId
from salver_server.kit.secret import Secret
from salver_server.secrets import store
from salver_server.secrets.holder import KeyHolder
from salver_server.secrets.keychain import Keychain, SystemKeychain
from salver_server.secrets.keyfile import KeyFile
from salver_server.secrets.seal import Keys, seal, unseal
from salver_server.secrets.standing import Standing, VaultShut
from salver_server.secrets.store import SecretRow, Use
from salver_server.store import Database

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

LONGEST = 64 * 1024
"""Bytes of one secret."""
REMEMBERED = timedelta(days=90)
"""Uses older than this are forgotten."""
MOST_USES = 500


@asynccontextmanager
async def open_vault(
    database: Database,
    *,
    home: Path,
    install: InstallId,
    clock: Clock,
    keychain: Keychain | None = None,
    file_allowed: bool = False,
) -> AsyncGenerator["Vault"]:
    """The vault of the data folder `home`; opening it asks no keychain.

    With `file_allowed` a person has consented to a key file, should there be no keychain.
    """
    place = keychain or SystemKeychain(install)
    vault = Vault(
        database=database,
        keychain=place,
        file=KeyFile(home),
        clock=clock,
        file_allowed=file_allowed,
    )
    try:
        yield vault
    finally:
        vault.close()


class Vault:
    """Raises `VaultShut` wherever the master key is needed and can't be had, `NeedsUser` for a full disk."""

    def __init__(
        self,
        *,
        database: Database,
        keychain: Keychain,
        file: KeyFile,
        clock: Clock,
        file_allowed: bool,
    ) -> None:
        self._database = database
        self._file_allowed = file_allowed
        self._clock = clock
        self._holder = KeyHolder(
            keychain=keychain,
            file=file,
            clock=clock,
            needed=lambda: database.read(store.versions),
        )

    async def put(self, name: SecretName, secret: Secret) -> None:
        """Keep a secret, instead of the one of that name if there is one; raises `Rejected` for no secret."""
        _check(name, secret)
        try:
            await self._holder.hold(make=True)
        except VaultShut:
            if not self._file_allowed:
                raise
            await self._holder.allow_file()
        now = self._now()
        await self._write(
            name, lambda conn: store.keep(conn, seal(self._keys(), name, secret), now)
        )
        logger.info("secret kept", extra={"secret": name})

    async def get(
        self, name: SecretName, *, purpose: str, session: SessionId | None = None
    ) -> Secret:
        """The secret, for this purpose, which is on disk once it is handed out.

        Raises `Missing`, and `Broken` for one that was damaged or altered.
        """
        # Nobody is prompted for what does not exist.
        if await self._database.read(lambda conn: store.sealed(conn, name)) is None:
            raise _missing(name)
        await self._holder.hold(make=False)
        moment = self._clock.now()
        use = Use(secret=name, at=stamp(moment), session=session, purpose=purpose)
        horizon = stamp(moment - REMEMBERED)
        return await self._write(name, lambda conn: self._hand_out(conn, use, horizon))

    async def remove(self, name: SecretName) -> None:
        """Keep it no longer; needs no key. Raises `Missing`."""
        if not await self._write(name, lambda conn: store.remove(conn, name)):
            raise _missing(name)
        logger.info("secret removed", extra={"secret": name})

    async def names(self) -> list[SecretRow]:
        """What there is, never its values; needs no key."""
        return await self._database.read(store.rows)

    async def uses(self, name: SecretName | None = None) -> list[Use]:
        """What this secret, or any, was handed out for; the latest first, at most 500."""
        return await self._database.read(lambda conn: store.uses(conn, name, most=MOST_USES))

    def standing(self) -> Standing:
        """How the master key stands, as far as is known; asks no keychain."""
        return self._holder.standing()

    async def unlock(self) -> Standing:
        """Ask for the master key now, as a person's click does, prompt and all; how it stands then."""
        try:
            await self._holder.hold(make=False)
        except VaultShut as exc:
            return exc.standing
        return self.standing()

    async def allow_key_file(self) -> Standing:
        """A person's consent to a key file, where there is no keychain; how the key stands then.

        A keychain that works is used all the same. Raises `VaultShut` while secrets exist that the
        keychain's key sealed, or a prompt is open.
        """
        await self._holder.allow_file()
        return self.standing()

    async def move_to_keychain(self) -> Standing:
        """Let the key rest in the keychain and remove the key file; raises `Conflict` if another rests there."""
        await self._holder.move_to_keychain()
        return self.standing()

    async def rotate(self) -> None:
        """Seal everything with a new master key; goes on with a rotation that was cut off."""
        await self._holder.rotate(self._reseal)

    def close(self) -> None:
        """Forget the key."""
        self._holder.keys = None

    def _hand_out(self, conn: Connection, use: Use, horizon: Stamp) -> Secret:
        found = store.sealed(conn, use.secret)
        if found is None:
            raise _missing(use.secret)
        secret = unseal(self._keys(), found)
        store.note(conn, use)
        store.forget_uses(conn, before=horizon)
        return secret

    async def _reseal(self, keys: Keys) -> None:
        def all_of_them(conn: Connection) -> None:
            for sealed in store.sealed_by_others(conn, keys.newest.version):
                store.reseal(conn, seal(keys, sealed.name, unseal(keys, sealed)))

        await self._write(None, all_of_them)

    def _keys(self) -> Keys:
        """Read when the write runs, so that it is never older than the rows."""
        keys = self._holder.keys
        assert keys is not None, "the keys are fetched before anything is sealed or opened"
        return keys

    async def _write(self, name: SecretName | None, job: Callable[[Connection], Result]) -> Result:
        try:
            return await self._database.write(job)
        except sqlite3.OperationalError as exc:
            what = f"The secret '{name}' was" if name else "Your secrets were"
            raise NeedsUser(
                f"{what} not touched: {exc}. Free some disk space and try again."
            ) from exc

    def _now(self) -> Stamp:
        return stamp(self._clock.now())


def _check(name: SecretName, secret: Secret) -> None:
    if not SECRET_NAME.fullmatch(name):
        raise Rejected(
            f"'{name}' is no name for a secret. Use lower-case letters, digits, dashes and dots, at most 80."
        )
    try:
        size = len(secret.reveal().encode())
    except UnicodeEncodeError:
        # The error quotes what it could not encode.
        raise Rejected(f"The secret '{name}' is no text. Paste it again.") from None
    if not 1 <= size <= LONGEST:
        raise Rejected(
            f"The secret '{name}' has {size} bytes; it takes between 1 and {LONGEST}. Paste it again."
        )


def _missing(name: SecretName) -> Missing:
    return Missing(f"There is no secret '{name}'. Enter it again.")
