import pytest

from salver_server.kit.money import dollars


@pytest.mark.parametrize(
    ("micro", "shown"),
    [
        (0, "$0.00"),
        (1, "under $0.0001"),
        (100, "$0.0001"),
        (3_400, "$0.0034"),
        (120_000, "$0.12"),
        (999_949, "$0.9999"),
        (1_000_000, "$1.00"),
        (12_500_000, "$12.50"),
        (1_234_567_890, "$1,234.57"),
    ],
)
def test_money_is_shown_in_dollars(micro: int, shown: str) -> None:
    assert dollars(micro) == shown
