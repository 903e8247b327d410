"""What this runner has read: only what the model knows may be replaced.

Conversations of one agent share its workspace, and commands change files too.
"""

import os

from salver_runner.workspace.files import State


class Seen:
    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        """By path, links resolved."""

    def note(self, path: str, state: State) -> None:
        """The model knows the file as it is in this state."""
        self._states[os.path.realpath(path)] = state

    def objection(self, path: str, state: State) -> str | None:
        """Why a file that is in this state now may not be replaced, and what to do; None if it may."""
        known = self._states.get(os.path.realpath(path))
        if known == state:
            return None
        if known is None:
            return f"{path} exists, and you have not read it. Read it first. Nothing was changed."
        return f"{path} was changed by something else since you last read it. Read it again. Nothing was changed."
