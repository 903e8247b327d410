"""The filter of system calls: what it refuses, and what ordinary programs go on doing."""

import errno
import os
import platform
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salver_server.runtimes import Runtime
from salver_server.runtimes.process import open_process, seccomp
from salver_server.runtimes.process.seccomp import MACHINES, Machine, program
from tests.fakes.yard import Yard, report

NEW_USER, NEW_NET, NEW_TIME, THREAD = 0x10000000, 0x40000000, 0x80, 0x003D0F00
TIOCSTI, TCGETS = 0x5412, 0x5401
UNIX, INET, ALG, VSOCK = 1, 2, 38, 40

HERE = MACHINES.get(platform.machine())


def answer(
    machine: Machine, call: int, first: int = 0, second: int = 0, *, audit: int | None = None
) -> int | str:
    """What the kernel would make of the filter: an errno, "allowed" or "killed"."""
    data = struct.pack("=iIQ6Q", call, audit or machine.audit, 0, first, second, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("HBBI", program(machine)))
    at = accumulator = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        match code:
            case seccomp.LOAD:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case seccomp.JUMP_EQUAL:
                at += if_true if accumulator == operand else if_false
            case seccomp.JUMP_BIT:
                at += if_true if accumulator & operand else if_false
            case seccomp.JUMP_AT_LEAST:
                at += if_true if accumulator >= operand else if_false
            case _:
                assert code == seccomp.RETURN
                words = {seccomp.ALLOW: "allowed", seccomp.KILL: "killed"}
                return words.get(operand) or operand & 0xFFFF


@pytest.fixture(params=MACHINES.values(), ids=list(MACHINES))
def machine(request: pytest.FixtureRequest) -> Machine:
    return request.param


def test_what_is_listed_is_refused_and_its_neighbours_are_not(machine: Machine) -> None:
    assert {answer(machine, call) for call in machine.refused} == {errno.EPERM}
    special = {machine.clone3, machine.socket, *machine.refused}
    others = set(range(500)) - special
    assert {answer(machine, call) for call in others} == {"allowed"}


def test_clone_and_unshare_make_no_namespaces(machine: Machine) -> None:
    for call in (machine.clone, machine.unshare):
        assert answer(machine, call, NEW_USER) == errno.EPERM
        assert answer(machine, call, NEW_NET | 17) == errno.EPERM
        # The kernel looks at the low half alone, and so must the filter.
        assert answer(machine, call, NEW_USER | 1 << 40) == errno.EPERM
    assert answer(machine, machine.unshare, NEW_TIME) == errno.EPERM
    assert answer(machine, machine.clone, THREAD) == "allowed"
    assert answer(machine, machine.clone, 17) == "allowed"
    assert answer(machine, machine.clone3) == errno.ENOSYS


def test_sockets_of_strange_families_are_unknown(machine: Machine) -> None:
    assert [answer(machine, machine.socket, family) for family in (UNIX, INET)] == ["allowed"] * 2
    strange = [answer(machine, machine.socket, family) for family in (ALG, VSOCK, 17, 0, 45)]
    assert set(strange) == {errno.EAFNOSUPPORT}


def test_nobody_types_for_another(machine: Machine) -> None:
    assert answer(machine, machine.ioctl, 0, TIOCSTI) == errno.EPERM
    assert answer(machine, machine.ioctl, 0, TIOCSTI | 1 << 32) == errno.EPERM
    assert answer(machine, machine.ioctl, 0, TCGETS) == "allowed"


def test_calls_numbered_in_another_way_are_not_let_through(machine: Machine) -> None:
    i386 = 0x40000003
    assert answer(machine, 1, audit=i386) == "killed"
    if machine.foreign is not None:
        assert answer(machine, machine.foreign | 1) == errno.ENOSYS


@pytest.fixture
async def unfiltered(yard: Yard) -> AsyncIterator[Runtime]:
    async with open_process(yard.site, filtered=False) as runtime:
        yield runtime


PROGRAMS = """
import asyncio, ctypes, errno, multiprocessing, os, pty, socket, sqlite3, subprocess, threading
assert subprocess.run(["/bin/sh", "-c", "echo hello | cat"], capture_output=True).stdout == b"hello\\n"
threads = [threading.Thread(target=print) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if (pid := os.fork()) == 0: os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
with sqlite3.connect("/workspace/x.db") as db:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (x)")
left, right = socket.socketpair()
left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, (2).to_bytes(4, "little"))])
server = socket.socket(socket.AF_UNIX)
server.bind("/tmp/socket")
loopback = socket.create_server(("127.0.0.1", 0))
socket.create_connection(loopback.getsockname()).close()
socket.if_nameindex()
multiprocessing.get_context("fork").Pool(2).map(abs, [1, -2])
asyncio.run(asyncio.sleep(0))
pty.openpty()
report(done=True)
"""


@pytest.mark.sandbox
@pytest.mark.skipif(HERE is None, reason="no filter for this processor")
async def test_ordinary_programs_notice_nothing(runtime: Runtime, yard: Yard) -> None:
    launch = yard.launch(PROGRAMS)
    await runtime.start(launch)
    assert await report(launch) == {"done": True}


@pytest.mark.sandbox
@pytest.mark.skipif(os.geteuid() == 0, reason="bubblewrap forbids it where it made one itself")
async def test_a_users_sandbox_makes_no_user_namespaces_even_without_it(
    unfiltered: Runtime, yard: Yard
) -> None:
    launch = yard.launch(
        "import subprocess; report(code=subprocess.run(['unshare', '--user', 'true']).returncode)"
    )
    await unfiltered.start(launch)
    assert (await report(launch))["code"] != 0


CALLS = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return errno.errorcode.get(ctypes.get_errno(), "done")
def family(number):
    try:
        socket.socket(number).close()
    except OSError as exc:
        return errno.errorcode[exc.errno]
    return "done"
"""


@pytest.mark.sandbox
@pytest.mark.skipif(HERE is None, reason="no filter for this processor")
async def test_the_kernel_holds_to_it(runtime: Runtime, yard: Yard) -> None:
    found = await calls(runtime, yard)
    assert found.pop("clone3") == "ENOSYS"
    assert found.pop("vsock") == "EAFNOSUPPORT"
    assert {name for name, result in found.items() if result != "EPERM"} == set()


@pytest.mark.sandbox
@pytest.mark.skipif(HERE is None, reason="no filter for this processor")
async def test_without_it_much_would_be_open(unfiltered: Runtime, yard: Yard) -> None:
    """Else the test before would show nothing: a kernel may refuse some of it by itself."""
    found = await calls(unfiltered, yard)
    refused_anyway = {name for name, result in found.items() if result == "EPERM"}
    assert not refused_anyway & {"keyctl", "io_uring_setup", "name_to_handle_at", "clone3"}


async def calls(runtime: Runtime, yard: Yard) -> dict[str, Any]:
    assert HERE
    column = [*MACHINES].index(platform.machine())
    # Not to be tried where it might succeed.
    numbers = {name: row[column] for name, *row in seccomp.REFUSED if name != "reboot"}
    launch = yard.launch(
        f"""
{CALLS}
found = {{name: call(number, -1, -1, -1, -1, -1) for name, number in {numbers!r}.items() if number}}
found |= {{
    "unshare": call({HERE.unshare}, {NEW_USER}),
    "clone": call({HERE.clone}, {NEW_USER | 17}),
    "clone3": call({HERE.clone3}, 0, 0),
    "type": call({HERE.ioctl}, 0, {TIOCSTI}, 0),
    "vsock": family({VSOCK}),
}}
report(**found)
"""
    )
    await runtime.start(launch)
    return await report(launch)
