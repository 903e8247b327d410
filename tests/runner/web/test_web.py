import json

import pytest

from salver_runner.web import LONGEST_URL, Page, Unreachable
from tests.runner.web.conftest import TOKEN, FakeGateway


async def test_a_page_is_asked_of_the_gateway(gateway: FakeGateway) -> None:
    gateway.page(
        b"hi", "Content-Type: text/html", "X-Salver-Url: https://a.org/", "x-salver-cut: 5"
    )
    page = await gateway.web.page("https://a.org/b c?d=é&e=f")
    assert page == Page(url="https://a.org/", status=200, type="text/html", body=b"hi", cut=True)
    (head,) = gateway.heads
    assert head == (
        "GET /web?url=https%3A%2F%2Fa.org%2Fb%20c%3Fd%3D%C3%A9%26e%3Df HTTP/1.1\r\n"
        f"host: gateway\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    )


async def test_a_refusal_is_in_the_gateways_words(gateway: FakeGateway) -> None:
    error = {"error": {"message": "Salver does not let you reach a.org: so it is."}}
    gateway.page(json.dumps(error).encode(), "x-salver-code: web_refused", status=403)
    with pytest.raises(Unreachable, match=r"does not let you reach a\.org: so it is\."):
        await gateway.web.page("https://a.org/")


@pytest.mark.parametrize("url", ["https://a.org/\ud83d", "https://a.org/" + "é" * LONGEST_URL])
async def test_what_is_no_address_is_asked_of_nobody(gateway: FakeGateway, url: str) -> None:
    with pytest.raises(Unreachable, match="The address"):
        await gateway.web.page(url)
    assert gateway.heads == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 So\r\n",
        b"HTTP/1.1 200 So\r\n\r\n",
        b"HTTP/1.1 200 So\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 So\r\ncontent-length: 7\r\n\r\nhalf",
        b"HTTP/1.1 200 So\r\nx: " + b"x" * 200_000,
        b"HTTP/1.1 403 So\r\nx-salver-code: web_refused\r\ncontent-length: 1\r\n\r\n?",
    ],
)
async def test_a_gateway_that_breaks_off_is_away(gateway: FakeGateway, answer: bytes) -> None:
    gateway.answer = answer
    with pytest.raises(Unreachable, match="away for a moment"):
        await gateway.web.page("https://a.org/")


async def test_a_gateway_that_is_not_there_is_away(gateway: FakeGateway) -> None:
    gateway.path.unlink()
    with pytest.raises(Unreachable, match="away for a moment"):
        await gateway.web.page("https://a.org/")
