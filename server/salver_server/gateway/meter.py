"""A meter that refuses nothing and keeps nothing: it says each call in the log."""

import itertools
import logging

from salver_server.calls import Ask, Tokens
from salver_server.ids import CallId

logger = logging.getLogger(__name__)


class LogMeter:
    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._asks: dict[CallId, Ask] = {}

    async def begin(self, ask: Ask) -> CallId:
        call = CallId(next(self._ids))
        self._asks[call] = ask
        return call

    async def end(self, call: CallId, *, status: int, tokens: Tokens | None) -> None:
        ask = self._asks.pop(call)
        logger.info(
            "model call",
            extra={
                "session": ask.session,
                "provider": ask.provider,
                "model": ask.model,
                "status": status,
                "input": tokens.input if tokens else None,
                "output": tokens.output if tokens else None,
            },
        )
