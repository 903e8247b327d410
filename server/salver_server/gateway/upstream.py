"""Where a session's model calls go: the owner's exact address and key, checked before first use."""

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from salver_server.errors import NeedsUser
from salver_server.kit.hosts import is_loopback


class Upstream(Protocol):
    """What the owner set: the base below which calls go, and what they are authorised with."""

    @property
    def url(self) -> str: ...

    @property
    def key(self) -> SecretStr | None:
        """None for a server that wants no key; then no Authorization is sent at all."""
        ...

    @property
    def plain(self) -> bool:
        """True if the owner accepts http, unencrypted, to another computer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An upstream that calls may go to."""

    base: str
    """Scheme, host, port and path, without a slash at the end."""
    host: str
    """For people: the host, with its port where the address names one."""
    key: SecretStr | None


def target(upstream: Upstream) -> Target:
    """The upstream, checked; raises `NeedsUser` saying what is wrong with it."""
    key = upstream.key.get_secret_value().strip() if upstream.key else ""
    if any(not "!" <= letter <= "~" for letter in key):
        raise NeedsUser("OPENAI_API_KEY holds a character that no key has. Set it anew.")
    # An address may hold a secret itself, so the texts below never quote it whole.
    wrong = "OPENAI_BASE_URL is not usable: {}. Set it like https://host/v1."
    try:
        parts = urlsplit(upstream.url)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise NeedsUser(wrong.format("its host or port is malformed")) from exc
    if parts.scheme not in ("http", "https") or not host:
        raise NeedsUser(wrong.format("it is no http or https address"))
    if parts.username is not None or parts.password is not None:
        raise NeedsUser(wrong.format("it holds a name or password, which belong in OPENAI_API_KEY"))
    if parts.query or parts.fragment:
        raise NeedsUser(wrong.format("nothing may follow its path"))
    if parts.scheme == "http" and not upstream.plain and not is_loopback(host):
        raise NeedsUser(
            f"Calls to {host} would travel unencrypted. Use https, or accept it with OPENAI_PLAIN_HTTP=1."
        )
    return Target(
        base=f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}",
        host=host if port is None else f"{host}:{port}",
        key=SecretStr(key) if key else None,
    )
