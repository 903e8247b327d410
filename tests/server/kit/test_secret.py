"""A secret is shown by nothing that was not asked to reveal it."""

import copy
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import pytest

from salver_server.kit.logs import Fields
from salver_server.kit.secret import Secret

TEXT = "sk-do-not-show"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    url: str
    key: Secret


ENDPOINT = Endpoint(url="https://example.org", key=Secret(TEXT))


SHOWING: list[Callable[[Secret], str]] = [
    str,
    repr,
    lambda secret: f"{secret}",
    lambda secret: f"{secret!r}",
    lambda secret: f"{secret!s}",
    lambda secret: f"{secret:>40}",
    lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 so does logging
    lambda secret: repr([secret, {"key": secret}]),
    lambda secret: repr(replace(ENDPOINT, key=secret)),
    lambda secret: repr(asdict(replace(ENDPOINT, key=secret))),
    lambda secret: repr(pickle.loads(pickle.dumps(secret))),
    lambda secret: json.dumps({"key": secret}, default=str),
]


@pytest.mark.parametrize("show", SHOWING)
def test_whoever_shows_a_secret_shows_three_stars(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(TEXT))
    assert TEXT not in shown
    assert "***" in shown


def test_only_revealing_gives_the_text() -> None:
    assert Secret(TEXT).reveal() == TEXT


def test_a_pickle_holds_nothing_of_it() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert TEXT.encode() not in pickle.dumps(ENDPOINT, protocol)


def test_a_log_line_holds_nothing_of_it() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Fields())
    logger = logging.getLogger(__name__)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    secret = Secret(TEXT)
    logger.info("secret used", extra={"secret": secret, "endpoint": ENDPOINT})
    logger.info("secret %s used", secret)
    try:
        raise RuntimeError(secret, ENDPOINT)
    except RuntimeError:
        logger.exception("it failed")
    finally:
        logger.removeHandler(handler)
    assert TEXT not in stream.getvalue()
    assert "secret=***" in stream.getvalue()


def test_a_traceback_holds_nothing_of_it_even_where_it_shows_what_was_at_hand() -> None:
    secret = Secret(TEXT)
    with pytest.raises(ValueError, match="no number") as failed:
        failing(secret)
    report = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
    shown = "".join(report.format())
    assert "secret = ***" in shown
    assert "sk-do" not in shown


def failing(secret: Secret) -> None:
    raise ValueError(f"{secret} is no number")


def test_secrets_are_compared_by_their_text() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret(TEXT + "!")
    assert Secret(TEXT) != TEXT
    assert Secret("é\ud800") == Secret("é\ud800")


def test_secrets_are_compared_in_the_same_time_wherever_they_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return True

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert Secret("a") == Secret("b")
    assert compared == [(b"a", b"b")]


def test_a_secret_is_no_key_of_anything() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(TEXT))


def test_a_secret_does_not_change() -> None:
    secret = Secret(TEXT)
    with pytest.raises(AttributeError):
        secret._text = "another"  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
    assert secret.reveal() == TEXT


def test_a_copy_within_the_process_is_the_secret_itself() -> None:
    secret = Secret(TEXT)
    assert copy.copy(secret) is secret
    assert copy.deepcopy(ENDPOINT).key is ENDPOINT.key
