"""What models cost, as data with a date: a person's own prices first, then those that came with Salver.

Nothing is fetched while Salver runs. The library is loaded when a vendor's model is first asked for, which
takes 50 ms; a thread would not help, since imports hold the interpreter.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from salver_server.calls import LONGEST_MODEL
from salver_server.clock import Clock
from salver_server.usage.own import OwnPrices
from salver_server.usage.price import FREE, Price, Rates

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

VENDORS = ("openai", "openrouter", "google", "anthropic")
"""Providers whose prices came with Salver; the library has them under the same names."""
SEERS = ("openai", "google", "anthropic")
"""Vendors whose models take images; at a vendor of vendors, the name before the slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model by name, and what it costs, if anybody knows."""

    provider: str
    model: str
    price: Price | None


class Prices:
    def __init__(self, own: Path, *, clock: Clock) -> None:
        """`own` is a person's prices.toml."""
        self._own = OwnPrices(own)
        self._clock = clock
        self._book: Book | None = None

    @property
    def problem(self) -> str:
        """Why prices.toml is not used as it lies there; empty if it is."""
        return self._own.problem

    def of(self, provider: str, model: str, *, local: bool = False) -> Price | None:
        """What the model costs now; None where nobody knows. What runs on this computer is free."""
        if price := self._own.price(provider, model):
            return price
        now = self._clock.now()
        if local or provider == "ollama":
            return Price(rates=FREE, date=now.date().isoformat())
        return self._loaded().price(provider, model, now) if provider in VENDORS else None

    def known(self, provider: str, model: str) -> tuple[int, bool]:
        """Tokens of the model's window, 0 if unknown, and whether it takes images."""
        price = self.of(provider, model)
        sees = self._own.sees(provider, model)
        return price.window if price else 0, _sees(provider, model) if sees is None else sees

    def these(self, names: Iterable[tuple[str, str]]) -> list[Listed]:
        """A person's own, then those of these names."""
        return [self._listed(*name) for name in dict.fromkeys([*self._own.all(), *names])]

    def like(self, part: str, *, most: int) -> list[Listed]:
        """The models whose names hold `part`, a person's own first; at most so many."""
        names = dict.fromkeys([*self._own.all(), *self._loaded().names()])
        found = [name for name in names if part.lower() in "/".join(name).lower()]
        return [self._listed(*name) for name in found[:most]]

    def _listed(self, provider: str, model: str) -> Listed:
        return Listed(provider=provider, model=model, price=self.of(provider, model))

    def _loaded(self) -> "Book":
        if self._book is None:
            self._book = Book()
        return self._book


class Book:
    """The prices that came with Salver."""

    def __init__(self) -> None:
        from genai_prices.data_snapshot import get_snapshot

        self._data = get_snapshot()
        self._dates = sorted(_dates(self._data))

    def names(self) -> Iterator[tuple[str, str]]:
        for provider in self._data.providers:
            if provider.id in VENDORS:
                yield from ((provider.id, model.id) for model in provider.models)

    def price(self, provider: str, model: str, now: datetime) -> Price | None:
        found = self._model(provider, model)
        if found is None:
            return None
        # The data has no date of its own, but it cannot be older than the newest price in it.
        at = bisect_right(self._dates, now.date())
        newest = self._dates[at - 1] if at else self._dates[0]
        return _price(found.get_prices(now), window=found.context_window, date=newest)

    def _model(self, provider: str, model: str) -> "ModelInfo | None":
        if len(model) > LONGEST_MODEL:
            return None
        try:
            return self._data.find_provider_model(
                model.removeprefix("models/"), None, provider, None
            )[1]
        except LookupError:
            return None


def _dates(data: "DataSnapshot") -> Iterator[date]:
    """When prices began that did not always hold."""
    from genai_prices.types import StartDateConstraint

    for provider in data.providers:
        for model in provider.models:
            for price in model.prices if isinstance(model.prices, list) else ():
                if isinstance(price.constraint, StartDateConstraint):
                    yield price.constraint.start_date


def _price(prices: "ModelPrice", *, window: int | None, date: date) -> Price | None:
    """None for what is not paid for by the token."""
    if prices.input_mtok is None or prices.output_mtok is None:
        return None
    steps = sorted(
        {tier.start for value in vars(prices).values() for tier in getattr(value, "tiers", ())}
    )
    return Price(
        rates=_rates(prices, 0),
        long=tuple((above, _rates(prices, above + 1)) for above in steps),
        window=window or 0,
        date=date.isoformat(),
    )


def _rates(prices: "ModelPrice", tokens: int) -> Rates:
    plain = _rate(prices.input_mtok, tokens)
    assert plain is not None
    output = _rate(prices.output_mtok, tokens)
    assert output is not None
    read, write = _rate(prices.cache_read_mtok, tokens), _rate(prices.cache_write_mtok, tokens)
    return Rates(
        input=plain,
        output=output,
        cache_read=plain if read is None else read,
        cache_write=plain if write is None else write,
    )


def _rate(price: "Decimal | TieredPrices | None", tokens: int) -> Decimal | None:
    """The one of these that holds for so much input."""
    if price is None or isinstance(price, Decimal):
        return price
    found = price.base
    for tier in price.tiers:
        if tokens > tier.start:
            found = tier.price
    return found


def _sees(provider: str, model: str) -> bool:
    """As the vendor's models do; nothing says it of each."""
    vendor = model.partition("/")[0] if provider == "openrouter" else provider
    return vendor in SEERS
