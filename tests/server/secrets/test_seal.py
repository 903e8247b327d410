import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver_server.errors import Broken
from salver_server.ids import SecretName
from salver_server.kit.secret import Secret
from salver_server.secrets.seal import (
    Keys,
    KeyVersion,
    NoKeys,
    Sealed,
    new_keys,
    read,
    seal,
    unseal,
    written,
)

NAME, OTHER = SecretName("one"), SecretName("other")
KEYS = new_keys()


@given(st.text())
def test_what_was_sealed_is_opened(text: str) -> None:
    assert unseal(KEYS, seal(KEYS, NAME, Secret(text))).reveal() == text


def test_the_same_secret_is_never_sealed_alike() -> None:
    sealed = [seal(KEYS, NAME, Secret("same")) for _ in range(100)]
    assert len({one.nonce for one in sealed}) == len({one.ciphertext for one in sealed}) == 100
    assert {len(one.nonce) for one in sealed} == {12}


ALTERED: list[Callable[[Sealed], Sealed]] = [
    lambda sealed: replace(sealed, name=OTHER),
    lambda sealed: replace(sealed, key_version=KeyVersion("0123456789abcdef")),
    lambda sealed: replace(sealed, nonce=bytes(12)),
    lambda sealed: replace(sealed, nonce=b""),
    lambda sealed: replace(sealed, ciphertext=b""),
    lambda sealed: replace(sealed, ciphertext=sealed.ciphertext[:-1]),
    lambda sealed: replace(sealed, ciphertext=sealed.ciphertext + bytes(1)),
    lambda sealed: replace(sealed, ciphertext=sealed.ciphertext[::-1]),
]


@pytest.mark.parametrize("alter", ALTERED)
def test_what_was_altered_or_stands_elsewhere_is_not_opened(
    alter: Callable[[Sealed], Sealed],
) -> None:
    sealed = alter(seal(KEYS, NAME, Secret("kept")))
    with pytest.raises(Broken, match=f"'{sealed.name}' was damaged or altered.*Enter it anew"):
        unseal(KEYS, sealed)


def test_a_row_is_bound_to_the_key_that_sealed_it() -> None:
    both = KEYS.with_successor()
    old = seal(KEYS, NAME, Secret("kept"))
    with pytest.raises(Broken):
        unseal(both, replace(old, key_version=both.newest.version))


def test_of_two_keys_the_newer_seals_and_each_opens_what_it_sealed() -> None:
    both = KEYS.with_successor()
    old, new = seal(KEYS, NAME, Secret("old")), seal(both, NAME, Secret("new"))
    assert [unseal(both, one).reveal() for one in (old, new)] == ["old", "new"]
    assert new.key_version == both.newest.version != old.key_version
    assert both.newest_alone().versions == {new.key_version}
    with pytest.raises(Broken):
        unseal(both.newest_alone(), old)


def test_a_key_is_kept_as_44_characters() -> None:
    item = written(KEYS).reveal()
    assert len(item) == 44
    assert len(base64.b64decode(item, validate=True)) == 32


@pytest.mark.parametrize("keys", [KEYS, KEYS.with_successor()])
def test_keys_that_were_written_are_read(keys: Keys) -> None:
    found = read(written(keys))
    assert written(found) == written(keys)
    assert [key.version for key in found.held] == [key.version for key in keys.held]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "***",
        "hello",
        "é",
        "\ud800",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        " ".join([written(KEYS).reveal()] * 3),
        written(KEYS).reveal()[:-1],
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    with pytest.raises(NoKeys):
        read(Secret(text))


def test_no_key_shows_itself() -> None:
    [key] = KEYS.held
    shown = f"{KEYS} {KEYS!r} {key} {written(KEYS)}"
    assert repr(key.material) not in shown
    assert written(KEYS).reveal() not in shown


def test_the_name_of_a_key_is_its_own_and_tells_nothing_else() -> None:
    versions = [new_keys().newest.version for _ in range(100)]
    assert len(set(versions)) == 100
    assert {len(version) for version in versions} == {16}
    assert read(written(KEYS)).newest.version == KEYS.newest.version
