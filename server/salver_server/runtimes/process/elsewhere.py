"""The process runtime where there's no bubblewrap to be had: it says so."""

from salver_server.errors import NeedsUser
from salver_server.runtimes import Launch, Mark, Probe, Sandbox

REASON = "Sandboxed processes need Linux."
FIX = "Choose another runtime for the agent, such as docker."


class Elsewhere:
    async def probe(self) -> Probe:
        return Probe(works=False, reason=REASON, fix=FIX)

    async def start(self, launch: Launch) -> Sandbox:
        raise NeedsUser(f"{REASON} {FIX} (session {launch.session})")

    async def adopt(self, mark: Mark) -> Sandbox | None:
        raise NeedsUser(f"{REASON} {FIX} (session {mark.session})")

    async def list(self) -> list[Mark]:
        return []
