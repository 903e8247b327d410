"""Google's generateContent. Its server takes every name in two spellings; only the documented one passes."""

import re

from salver_server.calls import Tokens
from salver_server.gateway.form import (
    count,
    inner,
    object_in,
    objects,
    one_answer,
    only,
    whole,
    words,
)
from salver_server.gateway.wires import Asked, Json, Route, Usage, WireSpec

PATH = re.compile(
    r"/v1beta/models/([A-Za-z0-9][A-Za-z0-9._-]{0,199}):(streamGenerateContent\?alt=sse|generateContent)"
)
FIELDS = words("contents systemInstruction tools toolConfig generationConfig safetySettings")
CONFIG = words(
    "temperature topP topK candidateCount maxOutputTokens stopSequences seed presencePenalty frequencyPenalty"
    " responseMimeType responseSchema responseJsonSchema responseLogprobs logprobs thinkingConfig mediaResolution"
)
PART = words(
    "text thought thoughtSignature inlineData functionCall functionResponse mediaResolution"
)


def route(path: str) -> Route | None:
    found = PATH.fullmatch(path)
    return Route(method="POST", tail=path, model=found[1]) if found else None


def understand(body: Json, way: Route) -> Asked:
    only(body, FIELDS, "a request")
    for content in objects(body.get("contents"), "its 'contents'"):
        _content(content)
    _content(object_in(body, "systemInstruction"))
    for tool in objects(body.get("tools"), "its 'tools'"):
        only(tool, words("functionDeclarations"), "its tools")
    choosing = object_in(body, "toolConfig")
    only(choosing, words("functionCallingConfig"), "its 'toolConfig'")
    config = object_in(body, "generationConfig")
    only(config, CONFIG, "its 'generationConfig'")
    one_answer(config, "candidateCount")
    return Asked(body=body, model=way.model, most_output=whole(config, "maxOutputTokens"))


def _content(content: Json) -> None:
    only(content, words("role parts"), "its contents")
    for part in objects(content.get("parts"), "a content's 'parts'"):
        only(part, PART, "its contents")
        response = object_in(part, "functionResponse")
        for piece in objects(response.get("parts"), "a result's 'parts'"):
            only(piece, words("inlineData"), "a result")


def usage(event: Json) -> Usage | None:
    counts = inner(event, "usageMetadata")
    if not counts:
        return None
    candidates = objects(event.get("candidates"), "the answer")
    ended = any(candidate.get("finishReason") for candidate in candidates)
    return Usage(counts=counts, final=ended or bool(inner(event, "promptFeedback")))


def tokens(counts: Json) -> Tokens:
    return Tokens(
        input=count(counts, "promptTokenCount") + count(counts, "toolUsePromptTokenCount"),
        output=count(counts, "candidatesTokenCount") + count(counts, "thoughtsTokenCount"),
        cache_read=count(counts, "cachedContentTokenCount"),
    )


WIRE = WireSpec(
    wire="google",
    key_header="x-goog-api-key",
    route=route,
    understand=understand,
    marker=b'"usageMetadata"',
    usage=usage,
    tokens=tokens,
)
