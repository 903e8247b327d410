"""The keychain of the operating system, which keeps one item for Salver: the master key."""

import importlib
from typing import Any, Literal, Protocol

from salver_server.ids import InstallId
from salver_server.kit.secret import Secret

SERVICE = "Salver"

TRUSTED = (
    ("keyring.backends.SecretService", "Keyring"),
    ("keyring.backends.kwallet", "DBusKeyring"),
    ("keyring.backends.macOS", "Keyring"),
    ("keyring.backends.Windows", "WinVaultKeyring"),
)
"""Backends that keep what they are given sealed; others exist that write it into a plain file."""

Why = Literal["locked", "absent", "refused"]


class KeychainError(Exception):
    """The keychain did not do it: it is locked, there is none, or it refused for another reason."""

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why: Why = why


class Keychain(Protocol):
    """One item, and nothing else. Calls block, for as long as a person looks at a prompt; never on the event loop.

    Each raises `KeychainError`, which never carries the item.
    """

    def get(self) -> Secret | None:
        """The item; None only if the keychain is open and has none."""
        ...

    def set(self, item: Secret, /) -> None:
        """Keep the item instead of the one before, if any."""
        ...

    def delete(self) -> None:
        """Keep it no longer; harmless if there is none."""
        ...


class Backend(Protocol):
    """What is used of a backend of `keyring`, which is typed only in part."""

    def get_password(self, service: str, username: str, /) -> str | None: ...

    def set_password(self, service: str, username: str, password: str, /) -> None: ...

    def delete_password(self, service: str, username: str, /) -> None: ...


class SystemKeychain:
    """The one that this computer has; looked for by each call until there is one.

    What it takes is slow to import and talks to the session bus: it is imported by the first call.
    """

    def __init__(self, install: InstallId) -> None:
        self._account = install
        self._backend: Backend | None = None

    def get(self) -> Secret | None:
        try:
            text = self._found().get_password(SERVICE, self._account)
        except Exception as exc:  # noqa: BLE001 a backend raises whatever its system does
            raise _translated(exc) from None
        return None if text is None else Secret(text)

    def set(self, item: Secret, /) -> None:
        try:
            self._found().set_password(SERVICE, self._account, item.reveal())
        except Exception as exc:  # noqa: BLE001 a backend raises whatever its system does
            raise _translated(exc) from None

    def delete(self) -> None:
        if self.get() is None:
            return
        try:
            self._found().delete_password(SERVICE, self._account)
        except Exception as exc:  # noqa: BLE001 a backend raises whatever its system does
            raise _translated(exc) from None

    def _found(self) -> Backend:
        if self._backend is None:
            self._backend = _backend()
        return self._backend


def _backend() -> Backend:
    """The best backend that can be trusted; raises `KeychainError` if there is none."""
    # By name, since keyring's own choice runs plugins, is made once and for all, and may ask several
    # backends in a row: an item would be looked for where it was never put, and that opens windows.
    classes: list[Any] = [
        getattr(importlib.import_module(module), name) for module, name in TRUSTED
    ]
    usable = [backend for backend in classes if backend.viable]
    if not usable:
        raise KeychainError("absent", "no keychain answers")
    return max(usable, key=lambda backend: backend.priority)()


def _translated(exc: Exception) -> KeychainError:
    from keyring.errors import InitError, KeyringLocked, NoKeyringError

    match exc:
        case KeychainError():
            return exc
        case KeyringLocked() | InitError():
            why: Why = "locked"
        case NoKeyringError():
            why = "absent"
        case _:
            why = "refused"
    return KeychainError(why, f"{type(exc).__name__}: {exc}")
