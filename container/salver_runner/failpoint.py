"""Named places where a test may kill the runner.

Armed by the launch record only, with the name and a FIFO: the runner reports there and stands still
until it is killed. Otherwise a call costs one comparison.
"""

import signal
from pathlib import Path

_armed: tuple[str, Path] | None = None


def arm(name: str, fifo: Path) -> None:
    """Stand still at the failpoint of this name, once it has been reported on the FIFO."""
    global _armed  # the one switch of the process, set once before the loop starts
    _armed = (name, fifo)


def failpoint(name: str) -> None:
    if _armed is None or _armed[0] != name:
        return
    with _armed[1].open("w") as pipe:
        pipe.write(f"{name}\n")
    while True:
        signal.pause()
