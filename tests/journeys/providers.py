"""The two providers that a journey of turns is made with: the demo one, and a scripted model behind the real one.

Both do what the lines with `!` of a message say. What else they differ in stands here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.model import FOREVER, MODEL, WIRES
from tests.journeys.waiting import until

KEY = "sk-journey-7f3a9c51d2e84b06"
"""The owner's key; nothing else in the world looks like it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    name: str
    matter: str
    """Its lines in the front matter of AGENT.md."""
    keep: str
    """What a line begins with whose text is to be kept; `!recall` says it again."""
    accounts: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """By provider: what its account is set up with."""

    def agent(self, instructions: str = "You are the agent of a journey.") -> str:
        """An AGENT.md."""
        return f"---\nname: Journey\n{self.matter}---\n{instructions}\n"


DEMO = Provider(name="demo", matter="provider: demo\n", keep="!remember")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A scripted model in a process of its own, and what it was asked."""

    url: str
    record: Path

    @property
    def provider(self) -> Provider:
        return Provider(
            name="pydantic-ai",
            matter=f"provider: openai-compatible\nmodel: {MODEL}\n",
            # Everything that a person wrote is recalled; thinking only passes the time.
            keep="!think",
            accounts={"openai-compatible": {"base_url": self.url, "key": KEY}},
        )

    def requests(self, about: str) -> list[list[dict[str, Any]]]:
        """The messages of every request in which somebody said `about`, in order."""
        lines = self.record.read_text(encoding="utf-8").splitlines()
        asked = (json.loads(line)["body"].get("messages", []) for line in lines)
        return [messages for messages in asked if about in json.dumps(messages)]


@contextmanager
def thinking(folder: Path, wire: str = "chat", *, context: int = FOREVER) -> Generator[Model]:
    """A scripted model that takes `KEY` and no other."""
    port, record = folder / "port", folder / "requests.jsonl"
    record.touch()
    command = [sys.executable, "-m", "tests.fakes.model", "--key", KEY]
    command += ["--wire", wire, "--context", str(context)]
    with subprocess.Popen(
        [*command, "--port-file", str(port), "--record", str(record)], env=dict(os.environ)
    ) as process:
        try:
            until(port.exists, what=lambda: f"the model ended with {process.poll()}")
            yield Model(
                url=f"http://127.0.0.1:{port.read_text(encoding='utf-8')}{WIRES[wire].base}",
                record=record,
            )
        finally:
            process.kill()
