"""The scripted model is as strict as the real thing, also as a process of its own."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.model import KEY, ScriptedModel
from tests.fakes.model.chat import objection

CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "shell", "arguments": "{}"},
}
USER = {"role": "user", "content": "hi"}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": ""}


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([USER], None),
        ([USER, CALLING, RESULT], None),
        ([USER, CALLING, RESULT, USER], None),
        ([], "empty array"),
        ([USER, CALLING], "had no response: call_1"),
        ([USER, CALLING, USER, RESULT], "had no response: call_1"),
        ([USER, RESULT], "must be a response"),
        ([USER, CALLING, RESULT, RESULT], "must be a response"),
        ([{"role": "assistant", "content": ""}], "role 'assistant'"),
        ([{"role": "user", "content": " "}], "role 'user'"),
    ],
)
def test_messages_in_an_order_that_is_not_allowed_are_rejected(
    messages: list[dict[str, Any]], words: str | None
) -> None:
    found = objection({"stream": True, "messages": messages})
    assert (words in found) if words and found else found is words


async def test_it_wants_its_key(model: ScriptedModel) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{model.url}/models", headers={"authorization": "Bearer x"})
    assert answer.status_code == 401


async def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    port_file, record = tmp_path / "port", tmp_path / "record"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.model"),
        *("--port-file", str(port_file), "--record", str(record), "--script", "!say as told"),
    )
    try:
        async with asyncio.timeout(10):
            while not _text(port_file):  # noqa: ASYNC110 - a file rings nobody
                await asyncio.sleep(0.01)
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"http://127.0.0.1:{_text(port_file)}/v1/chat/completions",
                json={"model": "scripted", "stream": True, "messages": [USER]},
                headers={"authorization": f"Bearer {KEY}"},
            )
    finally:
        process.terminate()
        await process.wait()
    assert '"content": "told\\n"' in answer.text
    assert json.loads(_text(record))["body"]["messages"] == [USER]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
