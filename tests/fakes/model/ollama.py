"""Ollama, which speaks OpenAI's chat completions and words its errors in its own way."""

from tests.fakes.model.chat import Chat
from tests.fakes.model.peer import Received
from tests.fakes.model.script import Json


class Ollama(Chat):
    def key(self, headers: dict[str, str]) -> str | None:  # noqa: ARG002 - it asks for none
        return None

    def unknown(self, model: str) -> tuple[int, str | None, str]:
        return 404, None, f'model "{model}" not found, try pulling it first'

    def objection(self, received: Received) -> str | None:
        """It takes messages in any order; what they lack, the model does not know."""
        return None if received.body.get("messages") else "[] is too short - 'messages'"

    def overflow(self, tokens: int, window: int) -> None:  # noqa: ARG002 - it forgets the oldest ones
        return None

    def error(self, status: int, code: str | None, message: str) -> Json:
        kind = "api_error" if status >= 404 else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}
