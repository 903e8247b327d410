import asyncio
from dataclasses import dataclass

import pytest

from salver_server.errors import NeedsUser
from salver_server.gateway.upstream import Target, check_address
from salver_server.kit.secret import Secret
from tests.fakes.model import KEY
from tests.fakes.upstream import FakeUpstream


@dataclass(frozen=True, kw_only=True)
class Case:
    url: str
    base: str
    host: str


@pytest.mark.parametrize(
    "case",
    [
        Case(url="https://api.test/v1", base="https://api.test/v1", host="api.test"),
        Case(url="https://api.test/v1/", base="https://api.test/v1", host="api.test"),
        Case(url="https://api.test:8443", base="https://api.test:8443", host="api.test:8443"),
        Case(
            url="http://localhost:11434/v1",
            base="http://localhost:11434/v1",
            host="localhost:11434",
        ),
        Case(url="http://127.0.0.5/v1", base="http://127.0.0.5/v1", host="127.0.0.5"),
        Case(url="http://[::1]:1234/v1", base="http://[::1]:1234/v1", host="::1:1234"),
    ],
    ids=lambda case: case.url,
)
def test_calls_go_exactly_where_the_owner_said(case: Case) -> None:
    found = check_address(case.url, plain=False)
    assert (found.base, found.host) == (case.base, case.host)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no http or https address"),
        ("api.test/v1", "no http or https address"),
        ("ftp://api.test", "no http or https address"),
        ("https://", "no http or https address"),
        ("https://api.test:port", "its host or port is malformed"),
        ("https://me:hunter2@api.test/v1", "it holds a name or password"),
        ("https://api.test/v1?key=hunter2", "nothing may follow its path"),
        ("http://api.test/v1", "Calls to api.test would travel unencrypted"),
        ("http://192.168.1.5/v1", "unencrypted"),
        ("http://localhost.test/v1", "unencrypted"),
    ],
)
def test_an_unusable_address_is_said_plainly(url: str, words: str) -> None:
    with pytest.raises(NeedsUser) as said:
        check_address(url, plain=False)
    assert words in str(said.value)
    assert "hunter2" not in str(said.value)


def test_an_owner_may_accept_plain_http() -> None:
    assert check_address("http://nas.test/v1", plain=True).base == "http://nas.test/v1"


async def key_of(held: str | None) -> str | None:
    found = await Target(FakeUpstream(url="https://api.test", held=held)).key()
    return found.reveal() if found else None


@pytest.mark.parametrize("key", ["sk-1\r\nhost: evil", "sk 1", "sk-ü", "sk-\x00"])
async def test_a_key_that_would_break_a_header_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(NeedsUser, match="salver provider set openai") as said:
        await key_of(key)
    assert key not in str(said.value)


@pytest.mark.parametrize(("key", "used"), [(" sk-1\n", "sk-1"), ("", None), (" ", None)])
async def test_blanks_around_a_key_do_not_matter(key: str, used: str | None) -> None:
    assert await key_of(key) == used


async def test_a_key_is_asked_for_once_even_by_many_at_a_time() -> None:
    upstream = FakeUpstream(url="https://api.test")
    target = Target(upstream)
    assert upstream.asked == 0
    keys = await asyncio.gather(*(target.key() for _ in range(5)))
    assert upstream.asked == 1
    assert keys == [Secret(KEY)] * 5


async def test_a_key_that_was_refused_is_asked_for_again() -> None:
    upstream = FakeUpstream(url="https://api.test")
    target = Target(upstream)
    await target.key()
    upstream.held = "sk-newer"
    assert await target.key() == Secret(KEY)
    target.forget()
    assert await target.key() == Secret("sk-newer")


def test_an_unusable_address_names_the_provider_and_the_command() -> None:
    with pytest.raises(NeedsUser, match=r"OpenAI: .*`salver provider set openai`"):
        Target(FakeUpstream(url="ftp://api.test"))
