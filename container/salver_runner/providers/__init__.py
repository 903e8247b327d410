"""How a turn is run with a model vendor's code; one file each, found by name and imported only when used."""

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Protocol, runtime_checkable

from salver_runner.turn import Failed, JsonObject, Turn

PACKS = Path("/salver/packs")
"""A provider's packages lie in the folder of its name here, unless it needs none."""


class Provider(Protocol):
    async def turn(self, turn: Turn) -> None:
        """Run the turn to its end.

        Before every request, `take()` what waits and put it in: at least once at the start, again
        after each tool round. Speak with `say()`, act with `use()`, and after every completed round
        leave in `turn.kept` the provider messages that the next turn goes on from. Raise `Failed` with a
        sentence for the person. Cancelled means that a person stopped the turn: end at once,
        `turn.kept` as it is.
        """
        ...


@runtime_checkable
class Compacts(Protocol):
    """What a provider may be able to do besides."""

    async def compact(self, turn: Turn) -> list[JsonObject]:
        """Provider messages that stand in place of `turn.history` from now on: less, and as much of its sense as can be.

        Nothing is taken, said or kept; `turn.history` stays as it is. Raise `Failed` with a sentence for the person.
        Cancelled means that a person stopped it: end at once.
        """
        ...


async def loaded(name: str) -> Provider:
    """`load`, aside where that takes a second: a stop must be heard meanwhile."""
    if (PACKS / name).is_dir():
        return await asyncio.to_thread(load, name)
    return load(name)


def load(name: str) -> Provider:
    """The provider of this name; raises `Failed` when this runner has none."""
    pack = str(PACKS / name)
    if Path(pack).is_dir() and pack not in sys.path:
        # Before all else, so that nothing in a workspace takes the place of a package.
        sys.path.insert(0, pack)
    module_name = name.replace("-", "_")
    try:
        module = importlib.import_module(f"{__name__}.{module_name}")
    except ModuleNotFoundError as exc:
        if exc.name != f"{__name__}.{module_name}":
            raise Failed(
                f"The provider {name!r} lacks its package {exc.name}. Restart Salver; it installs what is missing."
            ) from exc
        raise Failed(f"There is no provider {name!r}. Choose one that exists in AGENT.md.") from exc
    return module.PROVIDER
