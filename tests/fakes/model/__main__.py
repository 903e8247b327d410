"""A scripted model as a process of its own: python -m tests.fakes.model."""

import argparse
import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from tests.fakes.model import FOREVER, KEY, WIRES, ScriptedModel


@contextlib.asynccontextmanager
async def serving(port_file: Path, **options: Any) -> AsyncGenerator[ScriptedModel]:
    """The model with its port written to a file, whole or not at all."""
    async with ScriptedModel(**options) as model:
        aside = port_file.with_suffix(".new")
        aside.write_text(str(model.port), encoding="utf-8")
        aside.rename(port_file)
        yield model


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.model", description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True, help="gets the port it listens on")
    parser.add_argument("--port", type=int, default=0, help="a fixed port")
    parser.add_argument("--wire", choices=WIRES, default="chat", help="the format it speaks")
    parser.add_argument("--script", default="", help="orders for messages that hold none")
    parser.add_argument("--key", default=KEY, help="the only key it takes; empty for none at all")
    parser.add_argument("--context", type=int, default=FOREVER, help="characters of a request")
    parser.add_argument("--record", type=Path, help="every request, one JSON object a line")
    options = parser.parse_args()
    async with serving(
        options.port_file,
        port=options.port,
        wire=options.wire,
        script=options.script.replace("\\n", os.linesep),
        key=options.key or None,
        record=options.record,
        context=options.context,
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
