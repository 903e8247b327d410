"""Start bubblewrap, learn who its sandbox is, put it into its group, and only then let the runner go.

Blocking, in a worker thread: some ten milliseconds of waiting. Whatever goes wrong on the way, the
sandbox's shell finds its gate closed and ends, so that nothing is left running.
"""

import os
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from salver_server.errors import Transient
from salver_server.runtimes import Launch
from salver_server.runtimes.process import census, cgroups, logs, marks, procfs, trouble
from salver_server.runtimes.process.cgroups import Group, Places
from salver_server.runtimes.process.command import (
    GO,
    READY,
    Command,
    Handed,
    Machine,
    command,
    made_up,
)
from salver_server.runtimes.process.limits import Plan
from salver_server.runtimes.process.marks import Handle, Label
from salver_server.runtimes.process.pidfd import Process, is_readable

PATIENCE = 10.0
"""Seconds for bubblewrap to make a sandbox: it takes a hundredth, on a choked machine a whole one."""
LAST_WORDS = 1.0
"""Seconds for it to end once its sandbox has."""

CREDENTIALS = struct.Struct("3i")
"""What the kernel tells of who speaks: pid, uid, gid, as seen from here."""

Commander = Callable[[Machine, Plan, Launch, Handed], Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every start on this machine has at hand."""

    places: Places
    plan: Plan
    filter: bytes | None
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """A sandbox whose runner waits at the gate."""

    handle: Handle
    init: Process
    outer: Process
    group: Group
    gate: socket.socket

    def let_go(self) -> None:
        # Who has killed it meanwhile learns so from its end.
        with self.gate, suppress(OSError):
            self.gate.send(GO)

    def discard(self) -> None:
        """Leave nothing of it. Blocking."""
        self.gate.close()
        self.init.kill()
        _bury(self.outer, self.handle.label)
        self.init.close()
        self.group.remove()


def spawn(
    means: Means, machine: Machine, launch: Launch, commander: Commander = command
) -> Spawned:
    """Raises `NeedsUser` or `Transient`, and then has left nothing."""
    try:
        with ExitStack() as undo:
            spawned = _spawn(means, machine, launch, commander, undo)
            undo.pop_all()
            return spawned
    except OSError as exc:
        raise trouble.shortage(exc) from exc


def _spawn(
    means: Means, machine: Machine, launch: Launch, commander: Commander, undo: ExitStack
) -> Spawned:
    label = marks.label(launch)
    group = cgroups.make(means.places, label)
    undo.callback(group.remove)
    with logs.opened(launch.log) as log, ExitStack() as passed:
        printed = log.tell()
        gate, their_gate = socket.socketpair()
        undo.enter_context(gate)
        passed.enter_context(their_gate)
        gate.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        handed = _handed(means, machine, passed)
        told = commander(machine, means.plan, launch, handed)
        options = _filled(b"\0".join(map(os.fsencode, (*told.options, ""))), passed)
        outer, pid = _started(
            [str(machine.bwrap), "--args", str(options), "--", *told.program],
            stdin=their_gate.fileno(),
            log=log.fileno(),
            passed=[options, *handed.files.values(), *filter(None, [handed.filter])],
        )
    undo.callback(_bury, outer, label)
    # Last to be called back, so first to happen: what waits for it to open gives up.
    undo.callback(gate.close)
    with suppress(ProcessLookupError):
        # Some ten milliseconds of waiting for the kernel, which bubblewrap needs too; what comes
        # next to the same group is there at once.
        group.attach(pid)
    init_pid = _heard(gate)
    one = init_pid and procfs.process(init_pid)
    if not one or one.parent != pid:
        outer.is_dead(within=LAST_WORDS)
        raise trouble.diagnosis(logs.since(launch.log, printed), trouble.switches())
    init = Process(os.pidfd_open(one.pid))
    undo.callback(init.close)
    undo.callback(init.kill)
    group.attach(one.pid)
    handle = Handle(boot=means.boot, pid=one.pid, started=one.started, label=label)
    return Spawned(handle=handle, init=init, outer=outer, group=group, gate=gate)


def _handed(means: Means, machine: Machine, passed: ExitStack) -> Handed:
    return Handed(
        filter=_filled(means.filter, passed) if means.filter else None,
        files={path: _filled(text.encode(), passed) for path, text in made_up(machine).items()},
    )


def _filled(content: bytes, until: ExitStack) -> int:
    """A descriptor that reads as this content."""
    memory = os.memfd_create("salver")
    until.callback(os.close, memory)
    os.write(memory, content)
    os.lseek(memory, 0, os.SEEK_SET)
    return memory


def _started(
    argv: Sequence[str], *, stdin: int, log: int, passed: Sequence[int]
) -> tuple[Process, int]:
    child = subprocess.Popen(  # noqa: S603  built in command.py; no shell sees it
        argv,
        stdin=stdin,
        stdout=log,
        stderr=log,
        cwd="/",
        env={},
        pass_fds=passed,
        start_new_session=True,
    )
    try:
        outer = Process(os.pidfd_open(child.pid))
    except OSError:
        child.kill()
        child.wait()
        raise
    # Known by its pidfd from here on; a Popen complains of a child that outlives it.
    child.returncode = 0
    return outer, child.pid


def _heard(gate: socket.socket) -> int | None:
    """The pid of the shell that says all is set up, for which the kernel vouches; None if it ended.

    Not from bubblewrap's `--info-fd`: when the server dies just then, the broken pipe ends the
    outer bubblewrap, and its child waits for ever.
    """
    if not is_readable(gate.fileno(), within=PATIENCE):
        raise Transient(f"bubblewrap took longer than {PATIENCE:.0f} seconds to make a sandbox.")
    try:
        said, vouched, *_ = gate.recvmsg(len(READY), socket.CMSG_SPACE(CREDENTIALS.size))
    except ConnectionResetError:
        return None
    if said != READY:
        return None
    pid, _, _ = CREDENTIALS.unpack(vouched[0][2])
    return pid


def _bury(outer: Process, label: Label) -> None:
    """Wait for bubblewrap's end, which follows that of its sandbox, and take note of it."""
    if not outer.is_dead(within=PATIENCE):
        outer.kill()
        outer.is_dead(within=LAST_WORDS)
    with suppress(ChildProcessError):
        outer.code()
    outer.close()
    # Killed in the wrong moment it leaves a child that waits for it for ever.
    for one, whose in census.labelled():
        if marks.owner(whose) == marks.owner(label):
            _end(one)


def _end(one: procfs.Process) -> None:
    with suppress(ProcessLookupError):
        process = Process(os.pidfd_open(one.pid))
        process.kill()
        process.is_dead(within=LAST_WORDS)
        process.close()
