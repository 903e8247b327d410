"""Names of hosts as they are compared: one spelling each, and never an address in disguise."""

import ipaddress
import re

import idna

LONGEST = 253
LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
"""What programs take for an IPv4 address when a host ends in it, however short or odd it is."""


def host_name(text: str) -> str:
    """The name in lower case and ASCII; raises `ValueError` that says what is wrong with it."""
    if any(letter in text for letter in "[]:%"):
        raise ValueError("it must be a name alone, not an address or a name with a port")
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except idna.IDNAError as exc:
        raise ValueError("its letters make no host name") from exc
    labels = name.split(".")
    if not all(LABEL.fullmatch(label) for label in labels) or len(name) > LONGEST:
        raise ValueError("it is no host name: letters, digits and dashes, with dots between")
    if NUMBER.fullmatch(labels[-1]):
        raise ValueError("it is an address, and only names can be checked")
    if len(labels) < 2:
        raise ValueError("it names nothing on the internet, where names have a dot")
    return name


def is_loopback(host: str) -> bool:
    """Whether it can only mean this computer."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def site(text: str) -> str:
    """A host, or every host below one as `*.example.org`, in one spelling; raises `ValueError`."""
    name = text.strip().removesuffix(":443")
    if "/" in name:
        raise ValueError("it must be a host alone, without https:// and without a path")
    if not name.startswith("*."):
        return host_name(name)
    below = host_name(name[2:])
    return f"*.{below}"


def covers(site: str, host: str) -> bool:
    """Whether a host is meant by this site; both in their one spelling."""
    return host.endswith(site[1:]) if site.startswith("*.") else host == site
