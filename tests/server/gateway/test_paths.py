"""Which paths lead out: of each wire a few, in one spelling."""

from dataclasses import dataclass

import pytest

from salver_server.calls import Wire
from tests.fakes.upstream import FakeUpstream
from tests.server.gateway.conftest import TOKEN, House, Vendor, selling
from tests.server.gateway.test_gateway import exchanged

MODEL = "/google/v1beta/models/gemini-2.5-flash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    wire: Wire
    method: str
    path: str
    status: int


def of(wire: Wire, *cases: tuple[str, str, int]) -> list[Case]:
    return [Case(wire=wire, method=m, path=path, status=status) for m, path, status in cases]


EVERYWHERE = [
    ("OPTIONS", "*", 404),
    ("GET", "/", 404),
    ("GET", "/models", 404),
    ("GET", "//models", 404),
    ("GET", "http://gateway/", 403),
    ("CONNECT", "evil.test:443", 403),
]
CASES = [
    *of(
        "chat",
        *EVERYWHERE,
        ("POST", "/chat/chat/completions", 200),
        ("GET", "/chat/models", 200),
        ("GET", "/chat/chat/completions", 405),
        ("DELETE", "/chat/models", 405),
        ("HEAD", "/chat/models", 405),
        ("POST", "/chat/responses", 404),
        ("POST", "/chat/embeddings", 404),
        ("POST", "/chat/completions", 404),
        ("GET", "/chat/files", 404),
        ("GET", "/chat/batches", 404),
        ("GET", "/chat/models/", 404),
        ("GET", "/chat/models/gpt", 404),
        ("GET", "/chat/models?limit=1", 404),
        ("GET", "/chat/models#x", 404),
        ("GET", "//chat/models", 404),
        ("GET", "/chat//models", 404),
        ("GET", "/chat/./models", 404),
        ("GET", "/chat/chat/../models", 404),
        ("GET", "/chat/%6dodels", 404),
        ("GET", "/chat/chat/%2e%2e/models", 404),
        ("GET", "/chat%2fmodels", 404),
        ("GET", "/Chat/models", 404),
        ("GET", "/chat\\models", 404),
        ("GET", "/chatmodels", 404),
        ("GET", "/chat", 404),
        ("GET", "http://gateway/chat/models", 403),
        ("GET", "http://evil.test/chat/models", 403),
    ),
    *of(
        "responses",
        *EVERYWHERE,
        ("POST", "/responses/responses", 200),
        ("GET", "/responses/models", 200),
        ("GET", "/responses/responses", 405),
        ("GET", "/responses/responses/resp_1", 404),
        ("POST", "/responses/responses/resp_1/cancel", 404),
        ("GET", "/responses/responses/resp_1/input_items", 404),
        ("POST", "/responses/responses/compact", 404),
        ("POST", "/responses/responses?beta=true", 404),
        ("POST", "/responses/responses/", 404),
        ("POST", "/responses/conversations", 404),
        ("POST", "/responses/chat/completions", 404),
        ("POST", "/responses/containers", 404),
        ("GET", "/responses/organization/admin_api_keys", 404),
    ),
    *of(
        "google",
        *EVERYWHERE,
        ("POST", f"{MODEL}:streamGenerateContent?alt=sse", 200),
        ("POST", f"{MODEL}:generateContent", 200),
        ("GET", f"{MODEL}:generateContent", 405),
        ("GET", MODEL, 404),
        ("GET", "/google/v1beta/models", 404),
        ("POST", f"{MODEL}:streamGenerateContent", 404),
        ("POST", f"{MODEL}:streamGenerateContent?alt=json", 404),
        ("POST", f"{MODEL}:streamGenerateContent?alt=sse&key=mine", 404),
        ("POST", f"{MODEL}:streamGenerateContent?key=mine&alt=sse", 404),
        ("POST", f"{MODEL}:streamGenerateContent?alt=SSE", 404),
        ("POST", f"{MODEL}:streamGenerateContent?alt=sse#x", 404),
        ("POST", f"{MODEL}:generateContent?alt=sse", 404),
        ("POST", f"{MODEL}:countTokens", 404),
        ("POST", f"{MODEL}:batchGenerateContent", 404),
        ("POST", f"{MODEL}:embedContent", 404),
        ("POST", f"{MODEL}:predict", 404),
        ("POST", f"{MODEL}%3agenerateContent", 404),
        ("POST", f"{MODEL}:generateContent/", 404),
        ("POST", "/google/v1/models/gemini-2.5-flash:generateContent", 404),
        ("POST", "/google/v1beta/tunedModels/mine:generateContent", 404),
        ("POST", "/google/v1beta/models/:generateContent", 404),
        ("POST", "/google/v1beta/models/..:generateContent", 404),
        ("POST", "/google/v1beta/models/../files/x:generateContent", 404),
        ("POST", "/google/v1beta/models/a/b:generateContent", 404),
        ("POST", "/google/v1beta/models/a%2fb:generateContent", 404),
        ("POST", "/google/v1beta/models/a?x=:generateContent", 404),
        ("POST", "/google/v1beta/models/gémini:generateContent", 400),
        ("POST", f"/google/v1beta/models/{'a' * 201}:generateContent", 404),
        ("GET", "/google/v1beta/files", 404),
        ("POST", "/google/upload/v1beta/files", 404),
        ("POST", "/google/v1beta/cachedContents", 404),
        ("POST", "/google/v1beta/interactions", 404),
    ),
    *of(
        "anthropic",
        *EVERYWHERE,
        ("POST", "/anthropic/v1/messages", 200),
        ("POST", "/anthropic/v1/messages?beta=true", 200),
        ("GET", "/anthropic/v1/messages", 405),
        ("POST", "/anthropic/v1/messages?beta=false", 404),
        ("POST", "/anthropic/v1/messages?beta=true&x=1", 404),
        ("POST", "/anthropic/v1/messages/", 404),
        ("POST", "/anthropic/v1/messages/batches", 404),
        ("POST", "/anthropic/v1/messages/../files", 404),
        ("POST", "/anthropic/v1/complete", 404),
        ("GET", "/anthropic/v1/files", 404),
        ("GET", "/anthropic/v1/organizations/api_keys", 404),
        ("POST", "/anthropic/messages", 404),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path[:70]}")
async def test_only_the_few_calls_of_a_wire_go_through_in_one_spelling(
    house: House, case: Case
) -> None:
    vendor = Vendor(answer=b"{}", content_type="application/json")
    body = b"" if case.method != "POST" else b"{}" if case.wire == "google" else b'{"model": "m"}'
    async with selling(vendor):
        door = await house.door(
            FakeUpstream(url=f"{vendor.url}/base/", name=case.wire, wire=case.wire)
        )
        head = f"{case.method} {case.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"
        length = f"content-length: {len(body)}\r\n" if body else ""
        answer = await exchanged(door, f"{head}{length}\r\n".encode() + body)
    assert answer.startswith(f"HTTP/1.1 {case.status} ".encode())
    went = [head.split("\r\n")[0] for head in vendor.heads]
    if case.status == 200:
        tail = case.path.removeprefix(f"/{case.wire}")
        assert went == [f"{case.method} /base{tail} HTTP/1.1"]
    else:
        assert went == []
        assert b"x-salver-code: " in answer


async def test_a_session_reaches_each_of_its_upstreams_and_no_other(house: House) -> None:
    one, two = (Vendor(answer=b"{}", content_type="application/json") for _ in range(2))
    async with selling(one), selling(two):
        door = await house.door(
            FakeUpstream(url=one.url, name="ollama"), FakeUpstream(url=two.url, name="nas/v1")
        )
        for path in ("/nas/v1/models", "/nas/models", "/openai/models"):
            head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
            await exchanged(door, head.encode())
    assert one.heads == []
    assert [head.split("\r\n")[0] for head in two.heads] == ["GET /models HTTP/1.1"]
