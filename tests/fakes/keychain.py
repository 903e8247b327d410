"""FakeKeychain: an item in memory behind a lock, a prompt or a refusal, as a test wishes."""

import threading
from collections.abc import Callable

from salver_server.kit.secret import Secret
from salver_server.secrets import KeychainError
from salver_server.secrets.keychain import Why

PATIENCE = 20.0


class FakeKeychain:
    """Keeps every promise of the contract."""

    def __init__(self) -> None:
        self.item: Secret | None = None
        self.calls: list[str] = []
        """Every call, whatever became of it."""
        self.prompts = 0
        """How many prompts are on the screen."""
        self.most_prompts = 0
        self._why: Why | None = None
        self._prompting: tuple[str, ...] = ()
        self._answered = threading.Event()
        self._answered.set()
        self._prompted = threading.Event()
        self._garble: Callable[[Secret], Secret] | None = None

    # What a test tells it

    def fail(self, why: Why | None) -> None:
        """Calls fail so from now on; None lets them through again."""
        self._why = why

    def prompt(self, *calls: str) -> None:
        """These calls, or all, show a prompt and wait for its answer."""
        self._prompting = calls or ("get", "set", "delete")
        self._prompted.clear()
        self._answered.clear()

    def answer(self) -> None:
        """Somebody answers every prompt, and the keychain is open."""
        self._answered.set()

    def garble(self, how: Callable[[Secret], Secret]) -> None:
        """What is set is kept as something else."""
        self._garble = how

    def wait_for_prompt(self) -> None:
        """Return once a prompt is on the screen; blocks."""
        assert self._prompted.wait(PATIENCE), "nobody asked the keychain"

    # What the house uses

    def get(self) -> Secret | None:
        self._enter("get")
        return self.item

    def set(self, item: Secret, /) -> None:
        self._enter("set")
        self.item = self._garble(item) if self._garble else item

    def delete(self) -> None:
        self._enter("delete")
        self.item = None

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        if call in self._prompting and not self._answered.is_set():
            self.prompts += 1
            self.most_prompts = max(self.prompts, self.most_prompts)
            self._prompted.set()
            assert self._answered.wait(PATIENCE), "nobody answered the prompt"
            self.prompts -= 1
        if self._why is not None:
            raise KeychainError(self._why, f"the fake keychain is {self._why}")
