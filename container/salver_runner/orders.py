"""What a person's orders mean for the messages around them: decided here, done by the loop."""

from collections.abc import Iterable

from salver_runner.inbox import Message
from salver_runner.outbox import Ack


def until_memory(rows: list[Message]) -> tuple[list[Message], Message | None]:
    """What comes before the first order about the memory, and that order; everything if there is none."""
    for index, row in enumerate(rows):
        if row.kind in ("clear", "compact"):
            return rows[:index], row
    return rows, None


def answers(orders: Iterable[Message], rows: list[Message], *, claimed: set[int]) -> list[Ack]:
    """What to acknowledge for orders, given what is pending and what the running turn has claimed."""
    acks: list[Ack] = []
    gone: set[int] = set()
    for order in orders:
        if order.kind == "cancel":
            waits = any(row.seq == order.target and row.kind == "message" for row in rows)
            cancelled = waits and order.target not in claimed | gone
            if cancelled and order.target is not None:
                acks.append(Ack(seq=order.target, outcome="cancelled"))
                gone.add(order.target)
            acks.append(Ack(seq=order.seq, outcome="cancelled" if cancelled else "seen"))
        else:
            for row in rows:
                if (
                    row.seq < order.seq
                    and row.kind in ("message", "note", "compact")
                    and row.seq not in claimed | gone
                ):
                    acks.append(Ack(seq=row.seq, outcome="stopped", reason="Stopped."))
                    gone.add(row.seq)
            acks.append(Ack(seq=order.seq, outcome="done"))
    return acks
