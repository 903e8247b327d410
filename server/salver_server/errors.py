"""Errors named by what to do next; subclass for a field, never for a place.

SalverError
├── Transient    back off and try again; `retry_after` says how long, in seconds
├── NeedsUser    a person must act; the message says what to do
├── Rejected     the caller's mistake; nothing was changed
│   ├── Missing  the named thing does not exist
│   └── Conflict the thing is in a state that does not allow it
└── Broken       one of our promises failed; stop this session and say so
"""

from salver_server.kit.rounds import Later


class SalverError(Exception):
    """The root; the text is for people: what happened, to which thing, what to do now."""


class Transient(SalverError, Later):
    """The same call may succeed later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NeedsUser(SalverError):
    """Nothing but a person can change the outcome."""


class Rejected(SalverError):
    """The request itself is wrong; nothing was changed."""


class Missing(Rejected):
    """The named thing does not exist."""


class Conflict(Rejected):
    """The thing exists, but its state does not allow this."""


class Broken(SalverError):
    """A promise of ours failed; the session it names must stop."""
