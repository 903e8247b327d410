"""What the wires ask for beyond the conversation itself."""

from pathlib import Path

import pytest
from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai.wires import anthropic, google
from salver_runner.tools import Result
from tests.fakes.model import ScriptedModel
from tests.runner.providers.conftest import TOKEN, talking, tool
from tests.runner.providers.hall import Hall

CLAUDE = Choice(provider="anthropic", wire="anthropic", model="claude-x", window=0, sees=True)

SHELL = ToolDefinition(name="shell", parameters_json_schema={"type": "object"})
WITH_TOOLS = ModelRequestParameters(
    function_tools=[SHELL], instruction_parts=[InstructionPart(content="Be kind.")]
)
WITHOUT = ModelRequestParameters(instruction_parts=[InstructionPart(content="Be kind.")])

TALK: list[ModelMessage] = [
    ModelRequest(parts=[UserPromptPart("first")]),
    ModelResponse(parts=[TextPart("one")]),
    ModelRequest(parts=[UserPromptPart("second")]),
    ModelResponse(parts=[ToolCallPart("shell", {"command": "ls"}, tool_call_id="call_1")]),
    ModelRequest(parts=[ToolReturnPart("shell", "", tool_call_id="call_1")]),
    ModelRequest(parts=[UserPromptPart("third")]),
]


def test_anthropic_keeps_in_mind_what_is_the_same_the_next_time() -> None:
    body = anthropic.request(CLAUDE, TALK, WITH_TOOLS)
    assert body["system"][-1]["cache_control"] == {"type": "ephemeral"}
    marked = [
        index
        for index, message in enumerate(body["messages"])
        if "cache_control" in message["content"][-1]
    ]
    assert marked == [2, 4]
    assert str(body).count("cache_control") == 3


def test_anthropic_has_calls_results_and_words_in_the_order_that_it_wants() -> None:
    body = anthropic.request(CLAUDE, TALK, WITH_TOOLS)
    assert [message["role"] for message in body["messages"]] == [
        *("user", "assistant", "user", "assistant", "user")
    ]
    kinds = [block["type"] for block in body["messages"][-1]["content"]]
    assert kinds == ["tool_result", "text"]
    assert body["messages"][-1]["content"][0]["content"] == "(no output)"


def test_anthropic_is_told_the_tools_of_the_past_where_none_may_be_used() -> None:
    body = anthropic.request(CLAUDE, TALK, WITHOUT)
    assert [tool["name"] for tool in body["tools"]] == ["shell"]
    assert body["tool_choice"] == {"type": "none"}
    assert "tools" not in anthropic.request(CLAUDE, TALK[:1], WITHOUT)


@pytest.mark.parametrize(
    ("model", "most"),
    [("claude-3-haiku-20240307", 4096), ("claude-3-5-haiku-latest", 8192), ("claude-9", 16_000)],
)
def test_anthropic_is_asked_for_no_longer_answer_than_the_model_gives(
    model: str, most: int
) -> None:
    assert anthropic.longest_answer(model) == most


@pytest.mark.parametrize(("model", "signed"), [("gemini-3-pro", True), ("gemini-2.5-flash", False)])
def test_google_takes_calls_of_others_without_their_signature(model: str, signed: bool) -> None:
    choice = Choice(provider="google", wire="google", model=model, window=0, sees=True)
    call = google.request(choice, TALK, WITH_TOOLS)["contents"][3]["parts"][0]
    assert call["functionCall"] == {"name": "shell", "args": {"command": "ls"}}
    assert (call.get("thoughtSignature") == google.NO_SIGNATURE) == signed


@pytest.mark.usefixtures("workspace")
async def test_openais_sealed_thoughts_go_back_with_every_request(
    hall: Hall, tmp_path: Path
) -> None:
    model = hall.invite("openai", ScriptedModel(wire="responses", key=TOKEN, models=["gpt-5-mini"]))
    choice = Choice(provider="openai", wire="responses", model="gpt-5-mini", window=0, sees=True)
    session = talking(tmp_path, hall.path, choice)
    session.tools = tool("shell", lambda _: Result(text="ok"))
    assert await session.ask("!think hmm\n!shell a\n!say done") == "done"
    body = model.requests[1].body
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    [thought] = [item for item in body["input"] if item.get("type") == "reasoning"]
    assert thought["encrypted_content"].startswith("sealed:rs_")
