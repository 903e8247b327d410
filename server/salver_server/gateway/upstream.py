"""Where a session's model calls go: the owner's exact address, checked at once, and a key that is asked for late."""

import asyncio
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from salver_server.calls import Wire
from salver_server.errors import NeedsUser
from salver_server.gateway.wires import WireSpec, anthropic, chat, google, responses
from salver_server.kit.hosts import is_loopback
from salver_server.kit.secret import Secret

WIRES: Mapping[Wire, WireSpec] = {
    spec.wire: spec for spec in (chat.WIRE, responses.WIRE, google.WIRE, anthropic.WIRE)
}


class Upstream(Protocol):
    """What the owner set: the base below which calls go, and what they are authorised with."""

    @property
    def name(self) -> str:
        """The provider's name: the first part of a path in the sandbox."""
        ...

    @property
    def title(self) -> str:
        """The provider's name for people."""
        ...

    @property
    def wire(self) -> Wire: ...

    @property
    def url(self) -> str: ...

    @property
    def plain(self) -> bool:
        """True if the owner accepts http, unencrypted, to another computer."""
        ...

    @property
    def models(self) -> Container[str]:
        """Those that may be called; the same account may have others that search the web, or cost far more."""
        ...

    async def key(self) -> Secret | None:
        """None for a server that wants no key; then none is sent at all.

        Asked by a session's first call, and again when the key was refused. Raises `Missing` where there
        should be a key and is none, `NeedsUser` and `Transient` when it cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    base: str
    """Scheme, host, port and path, without a slash at the end."""
    host: str
    """For people: the host, with its port where the address names one."""


class Target:
    """An upstream that calls of one session may go to."""

    def __init__(self, upstream: Upstream) -> None:
        """Raises `NeedsUser` saying what is wrong with its address."""
        self.name = upstream.name
        self.title = upstream.title
        self.command = f"salver provider set {upstream.name.partition('/')[0]}"
        """For people: how to set it anew."""
        self.spec = WIRES[upstream.wire]
        self.models = upstream.models
        try:
            self.address = check_address(upstream.url, plain=upstream.plain)
        except NeedsUser as exc:
            raise NeedsUser(f"{self.title}: {exc} Set it anew with `{self.command}`.") from exc
        self._upstream = upstream
        self._asking = asyncio.Lock()
        self._keys: list[Secret | None] = []

    async def key(self) -> Secret | None:
        """Asked of the owner once; raises what `Upstream.key` does."""
        async with self._asking:
            if not self._keys:
                self._keys.append(self._checked(await self._upstream.key()))
            return self._keys[0]

    def forget(self) -> None:
        """The key was refused: the next call asks for it again."""
        self._keys.clear()

    def _checked(self, key: Secret | None) -> Secret | None:
        text = key.reveal().strip() if key else ""
        if any(not "!" <= letter <= "~" for letter in text):
            raise NeedsUser(
                f"The key of {self.title} holds a character that no key has. Set it anew with `{self.command}`."
            )
        return Secret(text) if text else None


def check_address(url: str, *, plain: bool) -> Address:
    """Where an owner's address leads; raises `NeedsUser` saying what is wrong with it.

    An address may hold a secret itself, so it is never quoted whole.
    """
    wrong = "The address is not usable: {}. It should look like https://host/v1."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise NeedsUser(wrong.format("its host or port is malformed")) from exc
    if parts.scheme not in ("http", "https") or not host:
        raise NeedsUser(wrong.format("it is no http or https address"))
    if parts.username is not None or parts.password is not None:
        raise NeedsUser(wrong.format("it holds a name or password, where only a key is used"))
    if parts.query or parts.fragment:
        raise NeedsUser(wrong.format("nothing may follow its path"))
    if parts.scheme == "http" and not plain and not is_loopback(host):
        raise NeedsUser(
            f"Calls to {host} would travel unencrypted. Use https, or allow plain http for it."
        )
    return Address(
        base=f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}",
        host=host if port is None else f"{host}:{port}",
    )
