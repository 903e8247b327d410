import pytest

from salver_server.kit.hosts import covers, host_name, is_loopback, site


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org", "example.org"),
        ("a-b.c1.example.org", "a-b.c1.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例え.example", "xn--r8jz45g.example"),
        ("3com.example", "3com.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
    ],
)
def test_a_name_has_one_spelling(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "localhost",
        "router",
        "example.org.",
        ".example.org",
        "a..example.org",
        "-a.example.org",
        "a-.example.org",
        "a_b.example.org",
        "a b.example.org",
        "example.org\n",
        "example.org\x00.evil.org",
        "example.org/",
        "example.org:443",
        "user@example.org",
        "*.example.org",
        "x" * 64 + ".example.org",
        "x." * 130 + "org",
        # Addresses in every spelling that some program takes for one.
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "1.0x7f",
        "1.0x",
        "017700000001",
        "0177.0.0.01",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "example.123",
        "[::1]",
        "::1",
        "fe80::1%eth0",
        "[::ffff:127.0.0.1]",
        "\uff11\uff12\uff17.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "0x\uff46.0.0.0x1",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it|^its"):
        host_name(text)


def test_letters_that_only_look_like_others_are_another_name() -> None:
    assert host_name("\u0435xample.org") == "xn--xample-2of.org"


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("example.org", "example.org"),
        (" Example.org:443 ", "example.org"),
        ("*.Example.org", "*.example.org"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
    ],
)
def test_a_site_has_one_spelling(text: str, one: str) -> None:
    assert site(text) == one


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "*.", "*.*", "*.org", "*org", "a*.example.org", "a.*.example.org"),
        *("*.*.example.org", "https://example.org", "example.org/path", "example.org:80"),
        *("example.org:8443", "10.0.0.1", "*.0.0.1", "[::1]:443"),
    ],
)
def test_what_is_no_site_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it|^its"):
        site(text)


@pytest.mark.parametrize(
    ("one", "host", "covered"),
    [
        ("example.org", "example.org", True),
        ("example.org", "a.example.org", False),
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "evilexample.org", False),
        ("*.example.org", "example.org.evil.net", False),
    ],
)
def test_a_site_means_itself_or_all_below_it(one: str, host: str, covered: bool) -> None:
    assert covers(one, host) is covered


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.9", "::1"])
def test_this_computer_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost.example.org", "10.0.0.1", "127.0.0.1.example.org"])
def test_other_computers_are_not_this_one(host: str) -> None:
    assert not is_loopback(host)
