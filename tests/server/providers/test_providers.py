from urllib.parse import urlsplit

from salver_server.providers import discover

SPECS = discover()


def test_the_providers_of_this_build() -> None:
    assert sorted(SPECS) == [
        "anthropic",
        "demo",
        "google",
        "ollama",
        "openai",
        "openai-compatible",
        "openrouter",
    ]
    assert all(spec.title for spec in SPECS.values())


def test_the_demo_needs_nothing() -> None:
    demo = SPECS["demo"]
    assert (demo.runner, demo.wire, demo.pack, demo.key) == ("demo", None, None, "no")


def test_whoever_wants_a_key_says_where_it_is_made_and_is_called_encrypted() -> None:
    keyed = [spec for spec in SPECS.values() if spec.key == "yes"]
    assert len(keyed) == 4
    for spec in keyed:
        assert urlsplit(spec.keys_at).scheme == urlsplit(spec.base_url).scheme == "https"


def test_every_format_is_spoken_by_somebody() -> None:
    assert {spec.wire for spec in SPECS.values()} == {
        None,
        "chat",
        "responses",
        "google",
        "anthropic",
    }


def test_only_what_can_be_anywhere_has_no_address() -> None:
    nowhere = [spec.name for spec in SPECS.values() if spec.wire and not spec.base_url]
    assert nowhere == ["openai-compatible"]
