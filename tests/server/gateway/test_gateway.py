import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from salver_server import gateway as room
from salver_server.clock import SystemClock
from salver_server.errors import NeedsUser
from salver_server.gateway import open_gateway, token_hash
from salver_server.gateway.door import MOST_CALLS
from salver_server.gateway.exchange import LONGEST_BODY
from salver_server.ids import SessionId
from tests.fakes.meter import FakeMeter
from tests.fakes.model import KEY, ScriptedModel
from tests.fakes.upstream import FakeUpstream
from tests.server.gateway.conftest import AGENT, CHAT, House, asking, rude, sandbox, saying


async def test_a_call_goes_through_with_the_real_key(door: Path, model: ScriptedModel) -> None:
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!say hello"))
    assert answer.status_code == 200
    assert "hello" in answer.text
    assert "data: [DONE]" in answer.text
    assert model.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert model.requests[0].body["messages"] == [{"role": "user", "content": "!say hello"}]


async def test_the_list_of_models_can_be_read(door: Path) -> None:
    async with sandbox(door) as client:
        answer = await client.get("/openai/models")
    assert answer.json()["data"][0]["id"] == "scripted"


async def test_an_answer_comes_piece_by_piece(door: Path, model: ScriptedModel) -> None:
    async with (
        sandbox(door) as client,
        client.stream("POST", CHAT, json=asking("!hold\n!say the rest")) as answer,
    ):
        pieces = answer.aiter_text()
        seen = ""
        while '"."' not in seen:
            seen += await anext(pieces)
        assert "rest" not in seen
        model.released.set()
        assert "rest" in "".join([piece async for piece in pieces])


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer another",
        "Bearer session-token-and-more",
        "Bearer sëssion-token",
        "Basic session-token",
        "session-token",
    ],
)
async def test_a_wrong_token_reaches_nobody(
    door: Path, model: ScriptedModel, authorization: str
) -> None:
    head = f"GET /openai/models HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\r\n"
    answer = await exchanged(door, head.encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "session_unknown"
    assert model.requests == []


async def test_a_token_of_another_session_opens_nothing(house: House, model: ScriptedModel) -> None:
    await house.door(FakeUpstream(url=model.url), token="one")
    door = await house.door(FakeUpstream(url=model.url), token="two")
    async with sandbox(door, token="one") as client:
        assert (await client.get("/openai/models")).status_code == 401


async def exchanged(door: Path, request: bytes) -> bytes:
    """What comes back for these bytes."""
    reader, writer = await asyncio.open_unix_connection(str(door))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 20_000]
)
async def test_what_is_no_http_is_refused(door: Path, garbage: bytes) -> None:
    assert (await exchanged(door, garbage)).startswith(b"HTTP/1.1 400 ")


async def test_a_model_that_was_not_chosen_is_not_called(
    house: House, model: ScriptedModel
) -> None:
    door = await house.door(FakeUpstream(url=model.url, models=("another",)))
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!say hello"))
    assert answer.status_code == 400
    assert answer.headers["x-salver-code"] == "bad_request"
    assert "not set up with the model 'scripted'" in answer.json()["error"]["message"]
    assert model.requests == []


async def test_an_error_is_answered_only_after_the_whole_request(door: Path) -> None:
    async with sandbox(door, token="wrong") as client:
        answer = await client.post(CHAT, content=b"x" * 5_000_000)
    assert answer.status_code == 401
    assert answer.headers["x-salver-code"] == "session_unknown"


async def test_a_request_that_is_too_large_is_refused(door: Path, model: ScriptedModel) -> None:
    async with sandbox(door) as client:
        answer = await client.post(CHAT, content=b"x" * (LONGEST_BODY + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert model.requests == []


async def test_a_request_that_never_ends_is_dropped(
    door: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ASKING", 0.05)
    assert await exchanged(door, b"POST / HTTP/1.1\r\n") == b""


async def test_only_harmless_headers_go_up(door: Path, model: ScriptedModel) -> None:
    extra = {
        "cookie": "a=b",
        "openai-organization": "o",
        "anthropic-beta": "files-api-2025-04-14",
        "x-salver-turn": "3",
        "user-agent": "runner",
        "content-type": "application/json; charset=utf-16",
    }
    async with sandbox(door) as client:
        await client.post(CHAT, json=asking("!say hello"), headers=extra)
    headers = model.requests[0].headers
    assert headers["user-agent"] == "runner"
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"
    assert set(headers) == {
        "host",
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "user-agent",
    }


async def test_only_harmless_headers_come_back(door: Path, model: ScriptedModel) -> None:
    model.headers = [
        ("set-cookie", "a=b"),
        ("server", "x"),
        ("x-salver-code", "over_budget"),
        ("retry-after", "3"),
    ]
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!say hello"))
        again = await client.post(CHAT, json=asking("!say hello"))
    assert set(answer.headers) == {
        "connection",
        "content-type",
        "retry-after",
        "transfer-encoding",
        "x-request-id",
    }
    assert again.status_code == 200
    assert "cookie" not in model.requests[1].headers


async def test_a_forbidden_call_is_told_in_our_own_words(door: Path) -> None:
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!fail 403"))
    assert answer.status_code == 403
    assert "The script says" not in answer.text


async def test_other_errors_come_back_as_they_are(door: Path, model: ScriptedModel) -> None:
    model.retry_after = "7"
    async with sandbox(door) as client:
        answer = await client.post(CHAT, json=asking("!fail 429"))
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["message"] == "The script says 429."


async def test_a_key_that_is_echoed_does_not_come_back(house: House) -> None:
    answer = (
        "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\n"
        f"x-request-id: {KEY}\r\ncontent-length: {len(KEY) + 2}\r\n\r\n<{KEY}>"
    )
    async with rude(saying(answer)) as url:
        door = await house.door(FakeUpstream(url=url))
        raw = await exchanged(door, request())
    assert raw.startswith(b"HTTP/1.1 400 ")
    assert KEY.encode() not in raw
    assert b"<***>" in raw


def request() -> bytes:
    body = json.dumps(asking("!say hello")).encode()
    return (
        f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer session-token\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def test_a_redirect_is_not_followed(house: House, model: ScriptedModel) -> None:
    answer = f"HTTP/1.1 307 Moved\r\nlocation: {model.url}/models\r\ncontent-length: 0\r\n\r\n"
    async with rude(saying(answer)) as url:
        door = await house.door(FakeUpstream(url=url))
        async with sandbox(door) as client:
            came = await client.get("/openai/models", follow_redirects=True)
    assert came.status_code == 502
    assert came.json()["error"]["code"] == "upstream_redirects"
    assert "location" not in came.headers
    assert model.requests == []


async def test_an_upstream_that_is_not_there_is_named(house: House, unused_tcp_port: int) -> None:
    door = await house.door(FakeUpstream(url=f"http://127.0.0.1:{unused_tcp_port}/v1"))
    async with sandbox(door) as client:
        error = (await client.post(CHAT, json=asking("!say hello"))).json()["error"]
    assert error["code"] == "upstream_unreachable"
    assert f"127.0.0.1:{unused_tcp_port}: connection refused" in error["message"]


async def test_an_upstream_that_speaks_no_tls_is_named(house: House, model: ScriptedModel) -> None:
    door = await house.door(FakeUpstream(url=model.url.replace("http:", "https:")))
    async with sandbox(door) as client:
        error = (await client.post(CHAT, json=asking("!say hello"))).json()["error"]
    assert "it does not speak TLS there" in error["message"]


async def test_an_upstream_that_says_nothing_and_closes_is_named(house: House) -> None:
    async with rude(saying("")) as url:
        door = await house.door(FakeUpstream(url=url))
        async with sandbox(door) as client:
            error = (await client.post(CHAT, json=asking("!say hello"))).json()["error"]
    assert "it closed the connection" in error["message"]


async def test_an_upstream_that_breaks_off_leaves_the_answer_unfinished(
    door: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sandbox(door) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post(CHAT, json=asking("!cut"))
    assert "an upstream broke off" in caplog.text


async def test_a_sandbox_that_hangs_up_ends_the_call_upstream(
    door: Path, model: ScriptedModel
) -> None:
    async with (
        sandbox(door) as client,
        client.stream("POST", CHAT, json=asking("!hold")) as answer,
    ):
        assert answer.status_code == 200
    await model.left(1)


async def test_a_sandbox_that_hangs_up_before_the_answer_ends_the_call_too(house: House) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        while await reader.read(65536):
            pass
        left.set()
        writer.close()

    async with rude(silent) as url, asyncio.timeout(10):
        door = await house.door(FakeUpstream(url=url))
        _, writer = await asyncio.open_unix_connection(str(door))
        writer.write(request())
        await asked.wait()
        writer.close()
        await left.wait()
    assert (await house.meter.over(1)).status == room.HUNG_UP


async def test_a_session_has_only_so_many_calls_at_a_time(door: Path, model: ScriptedModel) -> None:
    async with sandbox(door) as client, asyncio.TaskGroup() as tasks:
        for _ in range(MOST_CALLS):
            tasks.create_task(client.post(CHAT, json=asking("!hold")))
        await model.received(MOST_CALLS)
        assert (await client.post(CHAT, json=asking("!say hello"))).status_code == 503
        model.released.set()


async def test_no_log_ever_holds_the_key_or_the_token(
    house: House, door: Path, caplog: pytest.LogCaptureFixture, unused_tcp_port: int
) -> None:
    caplog.set_level(logging.DEBUG)
    gone = await house.door(FakeUpstream(url=f"http://127.0.0.1:{unused_tcp_port}/v1"))
    for path in (door, gone):
        async with sandbox(path) as client:
            for text in ("!say hello", "!fail 401", "!fail 500", "!cut 9"):
                try:
                    await client.post(CHAT, json=asking(text))
                except httpx2.RemoteProtocolError:
                    continue
    logged = caplog.text + str([vars(record) for record in caplog.records])
    assert "model call" in logged
    assert KEY not in logged
    assert "gateway" in {
        record.name.split(".")[1] for record in caplog.records if "." in record.name
    }


async def test_a_server_that_starts_again_finds_its_sockets_dead_and_makes_them_anew(
    house: House, model: ScriptedModel
) -> None:
    path = house.folder / "1"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    door = await house.door(FakeUpstream(url=model.url))
    assert door == path
    async with sandbox(door) as client:
        assert (await client.get("/openai/models")).status_code == 200


async def test_opening_a_session_again_changes_its_token(
    house: House, model: ScriptedModel
) -> None:
    door = await house.door(FakeUpstream(url=model.url), token="old")
    await house.gateway.open(
        SessionId("s-1"),
        door,
        agent=AGENT,
        token_hash=token_hash("new"),
        upstreams=[FakeUpstream(url=model.url)],
    )
    for token, status in (("old", 401), ("new", 200)):
        async with sandbox(door, token=token) as client:
            assert (await client.get("/openai/models")).status_code == status


async def test_an_unusable_upstream_leaves_the_session_as_it_was(house: House, door: Path) -> None:
    with pytest.raises(NeedsUser):
        await house.gateway.open(
            SessionId("s-1"),
            door,
            agent=AGENT,
            token_hash=b"",
            upstreams=[FakeUpstream(url="ftp://nowhere")],
        )
    async with sandbox(door) as client:
        assert (await client.get("/openai/models")).status_code == 200


async def test_closing_a_session_cuts_its_calls_and_takes_its_socket_away(
    house: House, door: Path, model: ScriptedModel
) -> None:
    async with sandbox(door) as client:
        call = client.build_request("POST", CHAT, json=asking("!hold"))
        answer = await client.send(call, stream=True)
        await house.gateway.close(SessionId("s-1"))
        with pytest.raises(httpx2.RemoteProtocolError):
            await answer.aread()
        assert names(house.folder) == []
        with pytest.raises(httpx2.ConnectError):
            await client.get("/openai/models")
    await model.left(1)
    await house.gateway.close(SessionId("s-1"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_leaving_the_gateway_closes_every_session(house: House, model: ScriptedModel) -> None:
    async with open_gateway(SystemClock(), meter=FakeMeter()) as gateway:
        for name in ("a", "b"):
            await gateway.open(
                SessionId(name),
                house.folder / name,
                agent=AGENT,
                token_hash=b"",
                upstreams=[FakeUpstream(url=model.url)],
            )
        assert names(house.folder) == ["a", "b"]
    assert names(house.folder) == []


async def test_a_socket_belongs_to_the_sandboxes_user_alone(
    house: House, model: ScriptedModel
) -> None:
    owner = (os.getuid(), os.getgid())
    async with open_gateway(SystemClock(), owner=owner, meter=FakeMeter()) as gateway:
        path = house.folder / "a"
        await gateway.open(
            SessionId("a"),
            path,
            agent=AGENT,
            token_hash=b"",
            upstreams=[FakeUpstream(url=model.url)],
        )
        assert held(path) == (*owner, 0o600)


def held(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, found.st_mode & 0o777


async def test_sessions_that_make_no_call_cost_no_task(house: House, model: ScriptedModel) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(200):
        await house.door(FakeUpstream(url=model.url))
    assert len(asyncio.all_tasks()) == before


def test_the_http_client_is_loaded_by_the_first_call_alone() -> None:
    check = "import sys, salver_server.gateway; sys.exit('httpx2' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
