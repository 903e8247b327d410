"""Files in and out over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salver_server.ids import DeliveryId, FileId
from salver_server.messages import File
from salver_server.sessions.outgoing import Taken
from tests.server.api.conftest import House
from tests.server.api.test_follow import following
from tests.server.sessions.conftest import Scribe

PNG = b"\x89PNG\r\n\x1a\nrest"


async def upload(house: House, name: str = "a.txt", data: bytes = b"hello") -> Any:
    answer = await house.client.post("/files", params={"name": name}, content=data)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def sent(house: House, name: str = "a.txt", data: bytes = b"hello") -> Any:
    """The file as it came with a message."""
    id_ = (await upload(house, name, data))["id"]
    message = await house.say("look", files=[id_])
    (file,) = (await house.ask("GET", f"/messages/{message['id']}"))["files"]
    return file


async def test_a_file_comes_with_its_message_and_is_given_out_again(house: House) -> None:
    found = await upload(house, "../grüße.png", PNG)
    assert {**found, "id": ""} == {"id": "", "name": "grüße.png", "type": "image/png", "size": 12}
    message = await house.say("", files=[found["id"]])
    assert (await house.ask("GET", f"/messages/{message['id']}"))["files"] == [found]
    shown = await house.ask("GET", f"/sessions/{message['session']}")
    assert shown["messages"][0]["files"] == [found]
    assert (await house.client.get(f"/files/{found['id']}")).content == PNG


async def test_a_body_of_unknown_length_is_taken_in_as_it_comes(house: House) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000

    answer = await house.client.post("/files", params={"name": "a"}, content=pieces())
    assert answer.json()["size"] == 3000


async def test_a_file_that_is_too_large_is_refused_before_it_is_read(house: House) -> None:
    reader, writer = await asyncio.open_unix_connection(house.running.socket)
    writer.write(b"POST /files?name=a HTTP/1.1\r\nhost: x\r\ncontent-length: 25000001\r\n\r\n")
    answer = (await reader.readuntil(b"}}")).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 422")
    assert "'a' is larger than 25 MB" in answer


async def test_a_file_without_a_name_is_refused(house: House) -> None:
    assert (await house.refused("POST", "/files"))[0] == 422


async def test_an_upload_is_given_out_only_once_its_message_is_accepted(house: House) -> None:
    id_ = (await upload(house))["id"]
    for path in (id_, "fil-1", "..%2f..%2fsalver.db", "%00"):
        assert (await house.client.get(f"/files/{path}")).status_code == 404


async def test_a_message_with_a_file_that_is_not_there_is_refused(house: House) -> None:
    status, _, words = await house.refused(
        "POST", "/messages", {"text": "look", "files": ["fil-1"]}
    )
    assert (status, words) == (404, "There is no uploaded file 'fil-1'. Upload it again.")


@pytest.mark.parametrize(
    ("data", "query", "shown"),
    [
        (PNG, "", "attachment"),
        (PNG, "?inline=1", "inline"),
        (b"GIF89a", "?inline=1", "inline"),
        (b"<svg onload='x()'>", "?inline=1", "attachment"),
        (b"<!doctype html>", "?inline=1", "attachment"),
        (b"%PDF-1", "?inline=1", "attachment"),
    ],
)
async def test_nothing_but_a_picture_is_ever_shown_in_place(
    house: House, data: bytes, query: str, shown: str
) -> None:
    file = await sent(house, 'a"; x=y\r\nset-cookie: ü.png', data)
    answer = await house.client.get(f"/files/{file['id']}{query}")
    headers = answer.headers
    assert headers["content-disposition"] == (
        f"{shown}; filename*=utf-8''a_%3B%20x%3Dy%20set-cookie_%20%C3%BC.png"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox"
    assert headers["content-type"].partition(";")[0] == file["type"]
    assert "set-cookie" not in headers


async def test_a_file_that_somebody_removed_is_said_to_be_gone(house: House) -> None:
    file = await sent(house)
    for path in (house.running.rooms.places.intake).glob("msg-*/a.txt"):
        path.unlink()
    status, _, words = await house.refused("GET", f"/files/{file['id']}")
    assert status == 404
    assert "'a.txt' is gone: somebody removed" in words


async def test_a_delivery_shows_its_files_to_whoever_follows_and_looks(house: House) -> None:
    message = await house.say("look")
    await house.hand_over(message["session"])
    scribe, delivery = Scribe(), DeliveryId("del-1")
    lies = house.running.rooms.places.outgoing / delivery / "a.txt"
    lies.parent.mkdir()
    lies.write_bytes(b"hello")
    file = File(id=FileId("fil-1"), name="a.txt", type="text/plain", size=5)
    claim, sends = scribe.claim(1), scribe.row("send", text="", files=[{}])
    taken = {sends.seq: Taken(delivery=delivery, files=(file,), refused=())}
    await house.take(message["session"], claim, sends, taken=taken)
    await house.take(message["session"], scribe.reply("done", 1), scribe.ack(1))
    shown = {"id": "fil-1", "name": "a.txt", "type": "text/plain", "size": 5}
    async with following(house, message) as follower:
        (event, *_) = [e for e in await follower.rest() if e["event"] == "delivery"]
    assert event["delivery"]["files"] == [shown]
    first, _ = (await house.ask("GET", f"/sessions/{message['session']}"))["deliveries"]
    assert first["files"] == [shown]
    assert (await house.client.get("/files/fil-1")).content == b"hello"
