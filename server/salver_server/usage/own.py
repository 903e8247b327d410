"""prices.toml: what a person says that models cost; it counts before all else.

A file that cannot be used leaves the last good one at work and says why.
"""

import datetime as dt
import logging
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salver_server.usage.price import Price, Rates

logger = logging.getLogger(__name__)

LONGEST_FILE = 1_000_000
"""Bytes of a prices.toml."""

Dollars = Annotated[Decimal, Field(ge=0, le=100_000, allow_inf_nan=False)]
"""For a million tokens."""


class Entry(BaseModel):
    """One `[[price]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    window: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    sees: bool | None = None
    date: dt.date | None = None


class File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    price: list[Entry] = []


class OwnPrices:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature = (0, 0, 0)
        self._entries: dict[tuple[str, str], Entry] = {}
        self._changed = ""
        self.problem = ""
        """Why the file as it lies there is not used; empty if it is, or there is none."""

    def price(self, provider: str, model: str) -> Price | None:
        entry = self._fresh().get((provider, model))
        return self._price(entry) if entry else None

    def sees(self, provider: str, model: str) -> bool | None:
        """Whether it takes images; None where the file does not say."""
        entry = self._fresh().get((provider, model))
        return entry.sees if entry else None

    def all(self) -> list[tuple[str, str]]:
        """Provider and model of each price."""
        return sorted(self._fresh())

    def _fresh(self) -> dict[tuple[str, str], Entry]:
        """The entries that count, after a look at the file."""
        try:
            found = self._path.stat()
        except OSError:
            self._signature, self._entries, self.problem = (0, 0, 0), {}, ""
            return self._entries
        signature = (found.st_ino, found.st_mtime_ns, found.st_size)
        if signature != self._signature:
            self._signature = signature
            self._changed = dt.datetime.fromtimestamp(found.st_mtime, dt.UTC).date().isoformat()
            try:
                self._entries, self.problem = _parsed(self._path), ""
            except ValueError as exc:
                self.problem = f"{self._path} is not used: {exc}. Correct it."
                logger.warning("prices not usable", extra={"why": self.problem})
        return self._entries

    def _price(self, entry: Entry) -> Price:
        rates = Rates(
            input=entry.input,
            output=entry.output,
            cache_read=entry.input if entry.cache_read is None else entry.cache_read,
            cache_write=entry.input if entry.cache_write is None else entry.cache_write,
        )
        date = entry.date.isoformat() if entry.date else self._changed
        return Price(rates=rates, window=entry.window, date=date)


def _parsed(path: Path) -> dict[tuple[str, str], Entry]:
    """Raises `ValueError` saying what is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
        if len(data) > LONGEST_FILE:
            raise ValueError(f"it has more than {LONGEST_FILE} bytes")
        entries = File.model_validate(tomllib.loads(data.decode())).price
    except OSError as exc:
        raise ValueError(f"it cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise ValueError("it is no text in UTF-8") from exc
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise ValueError(f"field '{field}': {problem['msg']}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"it is no TOML ({exc})") from exc
    return {(entry.provider, entry.model): entry for entry in entries}
