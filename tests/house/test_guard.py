"""The guard around the tests holds: they reach this computer and nothing else."""

import os
import socket
from contextlib import closing

import pytest

# Set aside for documentation: nobody answers there, should the guard fail.
ELSEWHERE = "192.0.2.1"


def test_nothing_is_sent_elsewhere() -> None:
    with closing(socket.socket()) as tcp, pytest.raises(pytest.fail.Exception):
        tcp.connect((ELSEWHERE, 80))
    with (
        closing(socket.socket(type=socket.SOCK_DGRAM)) as udp,
        pytest.raises(pytest.fail.Exception),
    ):
        udp.sendto(b"hello", (ELSEWHERE, 53))


def test_no_name_is_looked_up() -> None:
    with pytest.raises(pytest.fail.Exception):
        socket.getaddrinfo("somewhere.invalid", 80)


def test_this_computer_can_be_reached() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        closing(socket.create_connection(("localhost", server.getsockname()[1]))) as client,
    ):
        assert client.getpeername() == server.getsockname()


def test_the_developers_own_settings_are_out_of_sight() -> None:
    assert [name for name in os.environ if name.startswith(("SALVER_", "OPENAI_"))] == []
