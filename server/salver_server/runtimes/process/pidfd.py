"""Processes held by a descriptor: what is done to one is never done to its pid's next owner."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from select import POLLIN, poll


@dataclass(frozen=True, slots=True)
class Process:
    pidfd: int

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def is_dead(self, *, within: float = 0.0) -> bool:
        return is_readable(self.pidfd, within=within)

    def code(self) -> int | None:
        """How a dead child of ours ended, negative for a signal; the kernel then forgets it."""
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def close(self) -> None:
        os.close(self.pidfd)


def is_readable(descriptor: int, *, within: float) -> bool:
    """Blocking, for so many seconds."""
    # Not select(), which stops at descriptor 1023.
    waiting = poll()
    waiting.register(descriptor, POLLIN)
    return bool(waiting.poll(within * 1000))
