import json

import pytest

from salver_server.gateway.body import MOST_VALUES, read, written
from salver_server.gateway.exchange import Refused


def test_of_two_equal_keys_only_the_one_that_was_understood_goes_out() -> None:
    body = read(b'{"model": "cheap", "n": 2, "model": "dear", "n": 1}')
    assert body == {"model": "dear", "n": 1}
    assert json.loads(written(body)) == body
    assert written(body).count(b"model") == 1


@pytest.mark.parametrize(
    "body",
    [
        {"text": 'päivää \U0001f600 \u2028 " \\ \x00', "nothing": None, "yes": True},
        {"numbers": [0, -1, 1.5, 2**63, 10**30, 0.1, 1e22]},
        {"deep": [[[{"a": [{"b": 1}]}]]], "": ""},
    ],
)
def test_what_goes_out_means_what_came_in(body: dict[str, object]) -> None:
    assert json.loads(written(read(json.dumps(body).encode()))) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"{",
        b"{} {}",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="no JSON object") as said:
        read(body)
    assert (said.value.status, said.value.code) == (400, "bad_request")


def test_a_request_of_very_many_values_is_refused_before_it_is_read() -> None:
    with pytest.raises(Refused) as said:
        read(b'{"a": [' + b"[]," * MOST_VALUES + b"0]}")
    assert said.value.code == "request_too_large"


def test_a_request_may_hold_a_large_image() -> None:
    body = {"image": "QUJD" * 2_000_000}
    assert read(json.dumps(body).encode()) == body
