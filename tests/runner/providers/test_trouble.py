"""Each thing that a vendor really says becomes a trouble, a sentence, and what follows from it."""

import re
from pathlib import Path

import httpx2
import pytest
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models import ModelRequestParameters

from salver_runner.providers.pydantic_ai import trouble
from salver_runner.providers.pydantic_ai.asking import Asking, Overflow, Patience, Unanswered
from salver_runner.providers.pydantic_ai.trouble import Verdict
from salver_runner.providers.pydantic_ai.wires import Door
from tests.fakes.model.peer import Peer, Received
from tests.runner.providers.conftest import TOKEN, Session, talking
from tests.runner.providers.hall import Hall
from tests.runner.providers.said import FATES, Case
from tests.runner.providers.said.anthropic import ANTHROPIC
from tests.runner.providers.said.gateway import GATEWAY
from tests.runner.providers.said.google import GOOGLE
from tests.runner.providers.said.ollama import OLLAMA
from tests.runner.providers.said.openai import OPENAI_CHAT, OPENAI_RESPONSES
from tests.runner.providers.said.openrouter import OPENROUTER

CASES = [
    *OPENAI_CHAT,
    *OPENAI_RESPONSES,
    *OPENROUTER,
    *OLLAMA,
    *GOOGLE,
    *ANTHROPIC,
    *GATEWAY,
]

RAW = re.compile(r"[{}]|status_code|Traceback|Error\(")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_what_a_vendor_says_becomes_a_verdict(
    case: Case, hall: Hall, session_of: Session
) -> None:
    async def speak(peer: Peer, _: Received) -> None:
        kind = "text/event-stream" if case.status == 200 else "application/json"
        headers = [("content-type", kind), *case.headers.items()]
        await peer.begin(case.status, headers)
        await peer.send(case.body.encode())
        await peer.end()

    hall.vendors[case.vendor] = speak
    found = await verdict(case, hall, session_of)
    assert found.trouble == case.trouble
    assert case.words in found.sentence
    assert not RAW.search(found.sentence)
    assert (trouble.pause(found, 1.0) is not None) == case.repeats
    assert trouble.passes_on(found) == case.passes_on
    assert found.poison == case.poison


async def verdict(case: Case, hall: Hall, session: Session) -> Verdict:
    transport = httpx2.AsyncHTTPTransport(uds=str(hall.path))
    async with httpx2.AsyncClient(transport=transport) as http:
        asking = Asking(
            session.begin(),
            [case.choice],
            Door(http=http, token=TOKEN),
            Patience(pauses=()),
            spread=lambda: 1.0,
        )
        with pytest.raises(Unanswered) as caught:
            await asking.answer(
                [ModelRequest(parts=[UserPromptPart("hello")])], ModelRequestParameters()
            )
    assert isinstance(caught.value, Overflow) == (case.trouble == "context_full")
    return caught.value.verdict


@pytest.fixture
def session_of(hall: Hall, tmp_path: Path) -> Session:
    return talking(tmp_path, hall.path)


def test_every_trouble_is_met() -> None:
    assert {case.trouble for case in CASES} == set(FATES)
