import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from salver_server.calls import LONGEST_MODEL
from salver_server.usage import Prices
from salver_server.usage.price import FREE
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def prices(quick_path: Path, clock: FakeClock) -> Prices:
    """Without a prices.toml."""
    return Prices(quick_path / "prices.toml", clock=clock)


def test_the_library_is_loaded_by_no_import() -> None:
    code = "import sys, salver_server.app; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("provider", "model", "input_", "output"),
    [
        ("openai", "gpt-4o-mini", "0.15", "0.6"),
        ("openai", "gpt-4o-mini-2024-07-18", "0.15", "0.6"),
        ("google", "models/gemini-2.5-flash-lite", "0.1", "0.4"),
        ("openrouter", "openai/gpt-4o-mini", "0.15", "0.6"),
        ("anthropic", "claude-3-haiku-20240307", "0.25", "1.25"),
    ],
)
def test_vendors_prices_come_with_salver(
    prices: Prices, provider: str, model: str, input_: str, output: str
) -> None:
    price = prices.of(provider, model)
    assert price is not None
    assert (price.rates.input, price.rates.output) == (Decimal(input_), Decimal(output))
    assert "2026-10-01" < price.date <= "2026-11-22"


def test_a_price_may_depend_on_how_long_the_input_is(prices: Prices) -> None:
    price = prices.of("google", "gemini-2.5-pro")
    assert price is not None
    assert price.at(200_000).input == Decimal("1.25")
    assert price.at(200_001).input == Decimal("2.5")
    assert price.at(200_001).output == Decimal(15)


def test_a_price_is_that_of_the_day(prices: Prices, clock: FakeClock) -> None:
    clock.set(datetime(2025, 6, 9, tzinfo=UTC))
    before = prices.of("openai", "o3")
    clock.set(datetime(2025, 6, 10, tzinfo=UTC))
    after = prices.of("openai", "o3")
    assert before is not None
    assert after is not None
    assert (before.rates.input, after.rates.input) == (Decimal(10), Decimal(2))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("openai", "whisper-1"),
        ("openai", "gpt-4o-audio-preview" + "x" * LONGEST_MODEL),
        ("openai-compatible", "gpt-4o-mini"),
        ("nobody", "gpt-4o-mini"),
    ],
)
def test_what_nobody_knows_has_no_price(prices: Prices, provider: str, model: str) -> None:
    assert prices.of(provider, model) is None


def test_what_runs_on_this_computer_is_free(prices: Prices) -> None:
    for price in (prices.of("ollama", "llama3.2"), prices.of("openai-compatible", "a", local=True)):
        assert price is not None
        assert price.rates == FREE


def test_window_and_sight_are_known_of_vendors_models(prices: Prices) -> None:
    assert prices.known("openai", "gpt-5-mini") == (400_000, True)
    assert prices.known("openrouter", "anthropic/claude-haiku-4.5")[1]
    assert prices.known("openrouter", "deepseek/deepseek-r1")[1] is False
    assert prices.known("ollama", "llama3.2") == (0, False)
    assert prices.known("openai", "no-such-model") == (0, True)


def test_models_are_found_by_a_part_of_their_name(prices: Prices) -> None:
    found = [(listed.provider, listed.model) for listed in prices.like("GPT-4o-mini", most=500)]
    assert {("openai", "gpt-4o-mini"), ("openrouter", "openai/gpt-4o-mini")} <= set(found)
    assert len(prices.like("gpt", most=3)) == 3
    assert prices.like("no-such-model", most=3) == []


# A person's own


def test_a_person_s_own_price_goes_before_all_others(prices: Prices, quick_path: Path) -> None:
    write(quick_path, 'provider = "openai"\nmodel = "gpt-5-mini"\ninput = 7\noutput = 8.5\n')
    price = prices.of("openai", "gpt-5-mini")
    assert price is not None
    assert (price.rates.input, price.rates.output) == (Decimal(7), Decimal("8.5"))
    assert (price.rates.cache_read, price.rates.cache_write) == (Decimal(7), Decimal(7))
    local = prices.of("openai", "gpt-5-mini", local=True)
    assert local is not None
    assert local.rates == price.rates


def test_a_person_may_say_all_that_there_is_to_know(prices: Prices, quick_path: Path) -> None:
    write(
        quick_path,
        'provider = "openai-compatible"\nmodel = "qwen"\ninput = 1\noutput = 2\ncache_read = 0.1\n'
        "cache_write = 1.25\nwindow = 131072\nsees = true\ndate = 2026-11-01\n",
    )
    price = prices.of("openai-compatible", "qwen")
    assert price is not None
    assert (price.rates.cache_read, price.rates.cache_write) == (Decimal("0.1"), Decimal("1.25"))
    assert price.date == "2026-11-01"
    assert prices.known("openai-compatible", "qwen") == (131_072, True)
    listed = prices.these([("openai-compatible", "other"), ("openai-compatible", "qwen")])
    assert [(it.model, it.price is not None) for it in listed] == [("qwen", True), ("other", False)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[price]\n", "it is no TOML (Expected ']]' at the end of an array declaration"),
        ('[[price]]\nprovider = "a"\nmodel = "b"\ninput = -1\noutput = 1\n', "price.0.input"),
        ('[[price]]\nprovider = "a"\nmodel = "b"\ninput = nan\noutput = 1\n', "price.0.input"),
        ('[[price]]\nprovider = "a"\nmodel = "b"\ninput = 1\n', "price.0.output"),
        ('[[price]]\nmodell = "b"\n', "price.0.provider"),
        ("\x00\n", "it is no TOML"),
        ("#" * 1_000_001, "it has more than 1000000 bytes"),
    ],
)
def test_a_file_that_can_not_be_used_leaves_the_last_good_one_at_work(
    prices: Prices, quick_path: Path, text: str, why: str
) -> None:
    write(quick_path, 'provider = "a"\nmodel = "b"\ninput = 1\noutput = 1\n')
    assert prices.of("a", "b") is not None
    (quick_path / "prices.toml").write_text(text, encoding="utf-8")
    assert prices.of("a", "b") is not None
    assert prices.problem.startswith(f"{quick_path / 'prices.toml'} is not used: ")
    assert why in prices.problem
    assert prices.problem.endswith(". Correct it.")
    write(quick_path, 'provider = "a"\nmodel = "c"\ninput = 1\noutput = 1\n')
    assert prices.of("a", "b") is None
    assert prices.problem == ""


def test_a_file_that_is_taken_away_counts_no_longer(prices: Prices, quick_path: Path) -> None:
    write(quick_path, 'provider = "a"\nmodel = "b"\ninput = 1\noutput = 1\n')
    assert prices.of("a", "b") is not None
    (quick_path / "prices.toml").unlink()
    assert prices.of("a", "b") is None


def write(folder: Path, entry: str) -> None:
    (folder / "prices.toml").write_text(f"[[price]]\n{entry}", encoding="utf-8")
