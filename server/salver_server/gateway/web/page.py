"""What a fetch is asked for: an address, taken apart once and put together anew."""

from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from salver_server.gateway.web.dial import PORT, checked, refused, shown

LONGEST_URL = 8000
SAFE = "/%:@!$&'()*+,;=~-._?[]"
PORTS = {"https": PORT, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One resource of one host, reached by https whatever was written."""

    host: str
    """In its one spelling."""
    target: str
    """Path and query as they go out."""

    @property
    def url(self) -> str:
        return f"https://{self.host}{self.target}"


def asked(path: str) -> str:
    """The address in a request of the sandbox, `/web?url=` and the rest percent-encoded."""
    try:
        return unquote_to_bytes(path.removeprefix("/web?url=")).decode()
    except UnicodeDecodeError as exc:
        raise refused(shown(path), "its address is no text") from exc


def page(url: str) -> Page:
    """Raises `Refused` for what is no address of the web."""
    if len(url) > LONGEST_URL:
        raise refused(shown(url), f"its address is longer than {LONGEST_URL} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise refused(shown(url), "its address holds a character that no address has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise refused(shown(url), "its host or port is malformed") from exc
    if parts.scheme not in PORTS:
        raise refused(shown(url), "only https addresses can be fetched")
    if "[" in parts.netloc:
        raise refused(shown(parts.netloc), "it is an address, and only names can be checked")
    if "@" in parts.netloc:
        raise refused(shown(parts.hostname or url), "its address holds a name or password")
    host = checked(parts.hostname or "")
    if port not in (None, PORTS[parts.scheme]):
        raise refused(host, f"only port {PORT} is let out")
    query = f"?{quote(parts.query, safe=SAFE)}" if parts.query else ""
    return Page(host=host, target=(quote(parts.path, safe=SAFE) or "/") + query)


def moved(here: Page, location: str) -> Page:
    """Where a redirect leads; raises `Refused` like `page`."""
    try:
        return page(urljoin(here.url, location))
    except ValueError as exc:
        raise refused(here.host, "it redirects to a malformed address", status=502) from exc
