"""Google's generateContent. What was thought is signed, and each call has to come back with its signature."""

import json
import re

from tests.fakes.model.events import EVENT_STREAM, data
from tests.fakes.model.peer import Peer, Received
from tests.fakes.model.script import Answer, Json, Said, words

STATES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
PATH = re.compile(r"/v1beta/models/([^/:]+):streamGenerateContent\?alt=sse")
SIGNATURE = "c2lnbmVk"
NOT_MINE = "skip_thought_signature_validator"


class Google:
    base = ""
    models = "/v1beta/models"

    def asks(self, path: str) -> bool:
        return PATH.fullmatch(path) is not None

    def key(self, headers: dict[str, str]) -> str | None:
        return headers.get("x-goog-api-key")

    def model(self, received: Received) -> str:
        found = PATH.fullmatch(received.path)
        return found[1] if found else ""

    def listed(self, models: list[str]) -> Json:
        return {"models": [{"name": f"models/{name}"} for name in models]}

    def has_tools(self, body: Json) -> bool:
        return bool(body.get("tools"))

    def said(self, body: Json) -> list[Said]:
        return [one for content in body["contents"] for one in _said(content)]

    def objection(self, received: Received) -> str | None:
        return objection(received.body)

    def unknown(self, model: str) -> tuple[int, str | None, str]:
        words = (
            f"models/{model} is not found for API version v1beta, or is not supported for"
            " generateContent. Call ListModels to see the list of available models and their"
            " supported methods."
        )
        return 404, None, words

    def overflow(self, tokens: int, window: int) -> tuple[int, str | None, str]:
        words = f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({window})."
        return 400, None, words

    def error(self, status: int, code: str | None, message: str) -> Json:  # noqa: ARG002 - it has none
        state = STATES.get(status, "INTERNAL")
        return {"error": {"code": status, "message": message, "status": state}}

    def answer(self, peer: Peer, received: Received, ident: int) -> Answer:
        return Chunks(peer, received, ident)


def _said(content: Json) -> list[Said]:
    parts: list[Json] = content["parts"]
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    if content["role"] == "model":
        return [Said(by="model", text=text, called=any("functionCall" in part for part in parts))]
    results = [json.dumps(part["functionResponse"]) for part in parts if "functionResponse" in part]
    found = [Said(by="tools", text="\n".join(results))] if results else []
    return [*found, Said(by="person", text=text)] if text else found


def objection(body: Json) -> str | None:
    contents: list[Json] = body.get("contents") or []
    if not contents:
        return "* GenerateContentRequest.contents: contents is not specified"
    if contents[-1]["role"] != "user":
        return "Please ensure that single turn requests end with a user role or the role field is empty."
    called = 0
    for content in contents:
        parts: list[Json] = content["parts"]
        if not parts:
            return "* GenerateContentRequest.contents.parts: must not be empty"
        answered = sum("functionResponse" in part for part in parts)
        if answered != called:
            return (
                "Please ensure that the number of function response parts is equal to the number of"
                " function call parts of the function call turn."
            )
        calls = [part for part in parts if "functionCall" in part]
        called = len(calls)
        if calls and calls[0].get("thoughtSignature") not in (SIGNATURE, NOT_MINE):
            return "Function call is missing a thought_signature in functionCall parts."
    return None


class Chunks:
    """One answer as a stream of `GenerateContentResponse`."""

    def __init__(self, peer: Peer, received: Received, ident: int) -> None:
        self.peer = peer
        self._received = received
        self._id = ident
        self._words = 0

    async def begin(self, headers: list[tuple[str, str]]) -> None:
        await self.peer.begin(200, [EVENT_STREAM, *headers])

    async def text(self, text: str) -> None:
        for word in words(text):
            self._words += 1
            await self._parts([{"text": word}])

    async def reasoning(self, text: str) -> None:
        await self._parts([{"text": text, "thought": True}])

    async def call(self, index: int, ident: str, name: str, arguments: str) -> None:  # noqa: ARG002 - it gives none
        try:
            args = json.loads(arguments)
        except ValueError:
            await self._parts([], reason="MALFORMED_FUNCTION_CALL")
            return
        signed = {} if index else {"thoughtSignature": SIGNATURE}
        await self._parts([{"functionCall": {"name": name, "args": args}, **signed}])

    async def end(self, *, called: bool) -> None:  # noqa: ARG002 - it says STOP in either case
        await self._parts([{"text": ""}], reason="STOP")
        await self.peer.end()

    async def _parts(self, parts: list[Json], reason: str | None = None) -> None:
        candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
        if reason:
            candidate["finishReason"] = reason
        asked = len(str(self._received.body["contents"])) // 4
        await data(
            self.peer,
            {
                "candidates": [candidate],
                "usageMetadata": {
                    "promptTokenCount": asked,
                    "candidatesTokenCount": self._words,
                    "totalTokenCount": asked + self._words,
                },
                "modelVersion": "scripted",
                "responseId": f"answer-{self._id}",
            },
        )
