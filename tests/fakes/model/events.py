"""Streams of events, as every vendor but Google names them."""

import json

from tests.fakes.model.peer import Peer
from tests.fakes.model.script import Json

EVENT_STREAM = ("content-type", "text/event-stream; charset=utf-8")


async def event(peer: Peer, name: str, body: Json) -> None:
    await peer.send(f"event: {name}\ndata: {json.dumps(body)}\n\n".encode())


async def data(peer: Peer, body: Json) -> None:
    await peer.send(b"data: " + json.dumps(body).encode() + b"\r\n\r\n")
