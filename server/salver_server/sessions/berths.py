"""Places for sandboxes: a cap, and a fair line of sessions that wait for one."""

from salver_server.ids import SessionId


class Berths:
    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[SessionId] = set()
        self._waiting: dict[SessionId, None] = {}

    def take(self, session: SessionId) -> bool:
        """Whether the session has a place now; else it stands in line, behind who came before it."""
        first = next(iter(self._waiting), session)
        if len(self._taken) < self._most and first == session:
            self._waiting.pop(session, None)
            self._taken.add(session)
            return True
        self._waiting[session] = None
        return False

    def keep(self, session: SessionId) -> None:
        """An adopted sandbox has its place, whatever the cap says."""
        self._taken.add(session)

    def leave(self, session: SessionId) -> None:
        """The session needs no place, or no longer one."""
        self._taken.discard(session)
        self._waiting.pop(session, None)

    def next(self) -> SessionId | None:
        """Who may take a place now, if one is free and anybody waits."""
        return next(iter(self._waiting), None) if len(self._taken) < self._most else None

    def waits(self, session: SessionId) -> bool:
        return session in self._waiting

    @property
    def crowded(self) -> bool:
        """Somebody waits and no place is free."""
        return bool(self._waiting) and len(self._taken) >= self._most
