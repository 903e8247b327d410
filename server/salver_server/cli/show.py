"""Printing: tables for people, JSON for programs."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from salver_server.kit.money import dollars

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Without what a terminal would obey: texts may be a sandbox's."""
    return CONTROL.sub("", text)


def brief(text: str, widest: int) -> str:
    """In one line of so many characters at most."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= widest else line[: widest - 1] + "…"


def as_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def cost(spent: Mapping[str, Any]) -> str:
    """What calls to models cost; never less than it was where that is not known of all."""
    if spent["unpriced"]:
        return f"≥ {dollars(spent['cost'])}" if spent["cost"] else "?"
    return dollars(spent["cost"])


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Columns as wide as their longest cell; `empty` is said when there is no row."""
    lines = [
        [plain(str(row[column] if row[column] is not None else "")) for column in columns]
        for row in rows
    ]
    if not lines:
        click.echo(empty)
        return
    titles = [column.replace("_", " ") for column in columns]
    widths = [max(len(line[i]) for line in [titles, *lines]) for i in range(len(columns))]
    for number, line in enumerate([titles, *lines]):
        text = "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)
