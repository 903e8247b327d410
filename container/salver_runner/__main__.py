"""Start of the runner inside its sandbox; only the standard library until a message is claimed."""

import asyncio
import logging
import sys
from pathlib import Path

from salver_runner import failpoint
from salver_runner.launch import Launch, Mismatch, read_launch
from salver_runner.loop import Loop
from salver_runner.outbox import Ousted, Outbox, heal
from salver_runner.processes import adopt_orphans

logger = logging.getLogger("salver_runner")

SALVER = Path("/salver")
EXIT_OUSTED = 3
"""Somebody else owns outbound.db; nothing was written."""
EXIT_MISMATCH = 4


def main(root: Path = SALVER) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if sys.argv[1:] == ["heal"]:
        heal(root / "out" / "outbound.db")
        return 0
    code = 0
    try:
        launch = read_launch(root / "in" / "launch.json")
        if launch.failpoint:
            failpoint.arm(launch.failpoint, root / "home" / ".failpoint")
        adopt_orphans()
        path = root / "out" / "outbound.db"
        outbox = Outbox(path, epoch=launch.epoch, generation=launch.generation, read=launch.read)
        asyncio.run(_serve(launch, outbox, root))
    except* Ousted as exc:
        logger.error("left to another owner: %s", exc.exceptions)
        code = EXIT_OUSTED
    except* Mismatch as exc:
        logger.error("%s", exc.exceptions)
        code = EXIT_MISMATCH
    return code


async def _serve(launch: Launch, outbox: Outbox, root: Path) -> None:
    loop = Loop(
        launch,
        inbound=root / "in" / "inbound.db",
        outbox=outbox,
        line_socket=root / "line" / "line",
        gateway=root / "line" / "gateway",
        home=root / "home",
    )
    await loop.run()


if __name__ == "__main__":
    sys.exit(main())
