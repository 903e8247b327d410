"""Every test starts from a clean environment and can't reach beyond this computer."""

import ipaddress
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# DBUS_: whoever runs the tests has a keychain of their own, which is none of theirs.
SCRUBBED = (
    "SALVER_",
    "DBUS_",
    "OPENAI_",
    "ANTHROPIC_",
    "XDG_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
)


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.upper().startswith(SCRUBBED):
            del os.environ[name]
    # Its name is short, since sockets are made below it.
    away = Path(tempfile.mkdtemp(prefix="salver-"))
    config.add_cleanup(partial(shutil.rmtree, away, ignore_errors=True))
    for name, folder in {"HOME": "home", "XDG_RUNTIME_DIR": "run"}.items():
        (away / folder).mkdir(mode=0o700)
        os.environ[name] = str(away / folder)
    # A busy machine is no failure.
    settings.register_profile("house", deadline=None)
    settings.load_profile("house")
    sys.addaudithook(refuse_the_network)


def refuse_the_network(event: str, args: tuple[Any, ...]) -> None:
    match event, args:
        case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (_, (str(host), *_))):
            allowed = is_loopback(host)
        case "socket.getaddrinfo", (str() | bytes() as host, *_):
            allowed = not is_name(host if isinstance(host, str) else host.decode())
        case "socket.gethostbyname", (str(host),):
            allowed = not is_name(host)
        case _:
            return
    if not allowed:
        # Not an Exception, so that no code under test takes it for the weather.
        pytest.fail(f"the test reached for {host!r}: nothing may leave this computer")


def is_loopback(host: str) -> bool:
    if is_name(host):
        return False
    return host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback


def is_name(host: str) -> bool:
    """Whether finding the host's address would ask the network."""
    if host in ("", "localhost"):
        return False
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False
