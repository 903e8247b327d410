"""By TCP, `/health` is heard and nothing else, however it's asked for."""

import asyncio

import pytest

from tests.server.api.conftest import House

HEALTHY = b'{"status":"ok"}'

TRICKS = {
    "plain": b"GET /status HTTP/1.1",
    "root": b"GET / HTTP/1.1",
    "schema": b"GET /openapi.json HTTP/1.1",
    "upper-case": b"GET /HEALTH HTTP/1.1",
    "capital": b"GET /Status HTTP/1.1",
    "slash-behind": b"GET /health/ HTTP/1.1",
    "slash-twice": b"GET //health HTTP/1.1",
    "climbing": b"GET /health/../status HTTP/1.1",
    "climbing-encoded": b"GET /health/%2e%2e/status HTTP/1.1",
    "encoded": b"GET /%73tatus HTTP/1.1",
    "encoded-slash": b"GET /health%2f..%2fstatus HTTP/1.1",
    "nul": b"GET /health%00/status HTTP/1.1",
    "semicolon": b"GET /health;/status HTTP/1.1",
    "fragment": b"GET /status#/health HTTP/1.1",
    "query": b"GET /status?/health HTTP/1.1",
    "backslash": b"GET /health\\..\\status HTTP/1.1",
    "absolute": b"GET http://127.0.0.1/status HTTP/1.1",
    "absolute-unix": b"GET unix:/status HTTP/1.1",
    "absolute-of-health": b"GET http://127.0.0.1/health HTTP/1.1",
    "asterisk": b"OPTIONS * HTTP/1.1",
    "authority": b"CONNECT 127.0.0.1:1 HTTP/1.1",
    "stop": b"POST /stop HTTP/1.1",
    "agents": b"DELETE /agents/salver HTTP/1.1",
    "old": b"GET /status HTTP/1.0",
    "forwarded": b"GET /status HTTP/1.1\r\nX-Forwarded-For: unix\r\nForwarded: for=unix",
    "forwarded-prefix": b"GET /status HTTP/1.1\r\nX-Forwarded-Prefix: /health",
    "original-url": b"GET /status HTTP/1.1\r\nX-Original-URL: /health",
    "override": b"GET /status HTTP/1.1\r\nX-HTTP-Method-Override: POST",
    "socket": b"GET /status HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    b"\r\nSec-WebSocket-Key: c2FsdmVyLXNhbHZlci1zYQ==",
}


async def ask(house: House, *requests: bytes) -> bytes:
    """Everything that is answered to these requests, sent at once over TCP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.running.port)
    for request in requests[:-1]:
        writer.write(request + b"\r\nHost: 127.0.0.1\r\n\r\n")
    writer.write(requests[-1] + b"\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("path", [b"/health", b"/health?x=/status", b"/%68ealth"])
async def test_health_is_heard_by_tcp(house: House, path: bytes) -> None:
    answer = await ask(house, b"GET " + path + b" HTTP/1.1")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(HEALTHY)


async def test_nothing_else_is_heard_by_tcp(house: House) -> None:
    heard: dict[str, bytes] = {}
    for name, request in TRICKS.items():
        answer = await ask(house, request)
        head, _, body = answer.partition(b"\r\n\r\n")
        refused = head.split()[1] in (b"404", b"400")
        if not (refused and body in (b"", b"0\r\n\r\n", b"Invalid HTTP request received.")):
            heard[name] = answer
    assert heard == {}
    assert house.running.rooms.keeper.stopped  # as it was before
    assert [agent.name for agent in await house.running.rooms.agents.refresh()] == ["salver"]


async def test_what_follows_health_on_one_connection_is_not_heard_either(house: House) -> None:
    answer = await ask(house, b"GET /health HTTP/1.1", b"GET /status HTTP/1.1")
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert answer.count(b"HTTP/1.1 404 ") == 1


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
async def test_health_can_only_be_read(house: House, method: bytes) -> None:
    answer = await ask(house, method + b" /health HTTP/1.1")
    assert answer.startswith(b"HTTP/1.1 405 ")


async def test_everything_is_heard_by_the_unix_socket(house: House) -> None:
    for path in ("/health", "/status", "/agents", "/sessions", "/openapi.json"):
        await house.ask("GET", path)
