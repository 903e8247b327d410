"""A filter of system calls for the kernel: what no runner needs, and what has opened sandboxes before.

Bubblewrap forbids new user namespaces only where it made one itself, so not for a server run by
root. The filter refuses them everywhere, together with kernel interfaces of many past holes and
with sockets that no network namespace holds back (vsock reaches the host of a virtual machine).
"""

import errno
import struct
from dataclasses import dataclass

# What classic BPF and seccomp call their instructions, fields and answers; <linux/seccomp.h>.
LOAD, JUMP_EQUAL, JUMP_BIT, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT = 0, 4, 16, 24
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000

NEW_NAMESPACE = 0x7E020000
"""Any CLONE_NEW* flag; time namespaces share their bit with the exit signal in clone's flags."""
NEW_TIME_NAMESPACE = 0x80
FAKED_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into a terminal."""
LEASE = 1024
"""F_SETLEASE: whoever opens a leased file waits for its holder, and the server opens files that a sandbox owns."""
FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK: what programs ask for even without a network."""

REFUSED = (
    # Name, its number on x86_64 and on aarch64; None where it doesn't exist.
    ("acct", 163, 89),
    ("add_key", 248, 217),
    ("bpf", 321, 280),
    ("chroot", 161, 51),
    ("delete_module", 176, 106),
    ("fanotify_init", 300, 262),
    ("finit_module", 313, 273),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fsopen", 430, 430),
    ("fspick", 433, 433),
    ("init_module", 175, 105),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("io_uring_setup", 425, 425),
    ("ioperm", 173, None),
    ("iopl", 172, None),
    ("kexec_file_load", 320, 294),
    ("kexec_load", 246, 104),
    ("keyctl", 250, 219),
    ("lookup_dcookie", 212, 18),
    ("mount", 165, 40),
    ("mount_setattr", 442, 442),
    ("move_mount", 429, 429),
    ("name_to_handle_at", 303, 264),
    ("open_by_handle_at", 304, 265),
    ("open_tree", 428, 428),
    ("open_tree_attr", 467, 467),
    ("perf_event_open", 298, 241),
    ("pivot_root", 155, 41),
    ("quotactl", 179, 60),
    ("quotactl_fd", 443, 443),
    ("reboot", 169, 142),
    ("request_key", 249, 218),
    ("setns", 308, 268),
    ("swapoff", 168, 225),
    ("swapon", 167, 224),
    ("syslog", 103, 116),
    ("umount2", 166, 39),
    ("userfaultfd", 323, 282),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The numbers that differ from one kind of processor to another."""

    audit: int
    refused: tuple[int, ...]
    clone: int
    clone3: int
    unshare: int
    ioctl: int
    fcntl: int
    socket: int
    foreign: int | None
    """Numbers from here on belong to another way of calling the same kernel."""


MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        refused=tuple(number for _, number, _ in REFUSED),
        clone=56,
        clone3=435,
        unshare=272,
        ioctl=16,
        fcntl=72,
        socket=41,
        foreign=0x40000000,  # x32
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        refused=tuple(number for _, _, number in REFUSED if number is not None),
        clone=220,
        clone3=435,
        unshare=97,
        ioctl=29,
        fcntl=25,
        socket=198,
        foreign=None,
    ),
}


def program(machine: Machine) -> bytes:
    """The filter as the kernel wants it: an array of `struct sock_filter`, native byte order."""
    return b"".join(struct.pack("HBBI", *step) for step in _steps(machine))


def _steps(machine: Machine) -> list[tuple[int, int, int, int]]:
    # Only the low halves of arguments are read: the kernel itself takes these as 32 bits.
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, machine.audit),
        # 32-bit programs number their calls differently, so that no list of ours would hold.
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
    ]
    if machine.foreign is not None:
        steps += [(JUMP_AT_LEAST, 0, 1, machine.foreign), _refusal(errno.ENOSYS)]
    # Its flags lie in memory, out of a filter's reach; every libc falls back to clone.
    steps += [(JUMP_EQUAL, 0, 1, machine.clone3), _refusal(errno.ENOSYS)]
    for number in machine.refused:
        steps += [(JUMP_EQUAL, 0, 1, number), _refusal(errno.EPERM)]
    allowed = (RETURN, 0, 0, ALLOW)
    steps += [
        (JUMP_EQUAL, 0, 4, machine.clone),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_BIT, 0, 1, NEW_NAMESPACE),
        _refusal(errno.EPERM),
        allowed,
        (JUMP_EQUAL, 0, 4, machine.unshare),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_BIT, 0, 1, NEW_NAMESPACE | NEW_TIME_NAMESPACE),
        _refusal(errno.EPERM),
        allowed,
        (JUMP_EQUAL, 0, 4, machine.fcntl),
        (LOAD, 0, 0, SECOND_ARGUMENT),
        (JUMP_EQUAL, 0, 1, LEASE),
        _refusal(errno.EPERM),
        allowed,
        (JUMP_EQUAL, 0, 2 + 2 * len(FAKED_INPUT), machine.ioctl),
        (LOAD, 0, 0, SECOND_ARGUMENT),
    ]
    for request in FAKED_INPUT:
        steps += [(JUMP_EQUAL, 0, 1, request), _refusal(errno.EPERM)]
    steps += [
        allowed,
        (JUMP_EQUAL, 0, 2 + len(FAMILIES), machine.socket),
        (LOAD, 0, 0, FIRST_ARGUMENT),
    ]
    for left, family in reversed(list(enumerate(FAMILIES))):
        steps.append((JUMP_EQUAL, left + 1, 0, family))
    return [*steps, _refusal(errno.EAFNOSUPPORT), allowed]


def _refusal(number: int) -> tuple[int, int, int, int]:
    return (RETURN, 0, 0, ERRNO | number)
