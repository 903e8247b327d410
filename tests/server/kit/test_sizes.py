import pytest

from salver_server.kit.sizes import sized


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (12_345, "12 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (3_440_000, "3.4 MB"),
        (9_960_000, "10 MB"),
        (25_000_000, "25 MB"),
        (5_000_000_000_000, "5000 GB"),
    ],
)
def test_a_size_is_short(count: int, shown: str) -> None:
    assert sized(count) == shown
