"""FakeUpstream: what an owner set for a provider, as the gateway is handed it."""

from collections.abc import Container
from dataclasses import dataclass, field

from salver_server.calls import Wire
from salver_server.errors import SalverError
from salver_server.kit.secret import Secret
from tests.fakes.model import KEY


class Whichever:
    """Holds every name."""

    def __contains__(self, _: object) -> bool:
        return True


@dataclass(slots=True, kw_only=True)
class FakeUpstream:
    url: str
    name: str = "openai"
    title: str = "OpenAI"
    wire: Wire = "chat"
    plain: bool = False
    models: Container[str] = field(default_factory=Whichever)
    held: str | None = KEY
    """The key, as long as nothing is wrong with it."""
    trouble: SalverError | None = None
    """Raised in place of the key."""
    asked: int = 0
    """How often the key was wanted."""

    async def key(self) -> Secret | None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return None if self.held is None else Secret(self.held)
