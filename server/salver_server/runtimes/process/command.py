"""From a launch to bubblewrap's command line; nothing here touches the world.

The init of a sandbox is a shell that says when all is set up and starts nothing until it's told to,
on its standard input: a server that dies before it has put the limits on leaves a sandbox that ends
by itself. It waits for the runner and ends with it, whereupon the kernel kills what else still runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from salver_server.runtimes import Identity, Launch
from salver_server.runtimes.process import marks
from salver_server.runtimes.process.limits import Plan, for_each_process

HOSTNAME = "salver"
USER = "agent"
SMALL = 8 * 1024 * 1024
"""Bytes of /run, where only sockets and pid files belong."""

PRLIMIT, SETPRIV = "/usr/bin/prlimit", "/usr/bin/setpriv"

READY, GO = b"ready\n", b"go\n"
NOT_LET_GO = 78
FIRST_TO_GO = 500
"""On the kernel's scale from -1000 to 1000: out of memory, it takes a sandbox before other programs."""
GATE = (
    f"echo {FIRST_TO_GO} >/proc/self/oom_score_adj; "
    "cd /workspace && echo ready >&0 && read -r go && exec </dev/null || "
    f'exit {NOT_LET_GO}; "$@"; exit "$?"'
)

BOOT = (
    "import sys; sys.path.insert(0, '/salver/source'); "
    "from salver_runner.__main__ import main; sys.exit(main())"
)

# What programs of any distribution look for; each is taken as far as this machine has it.
ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "ssl",
)
TOP = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of this machine goes into every sandbox."""

    bwrap: Path
    python: Path
    """The interpreter that runs the runner."""
    trees: Sequence[Path] = ()
    """Folders beside /usr that the interpreter lives in."""
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where /bin, /lib and so on lead to, where they're links."""
    folders: Sequence[str] = ()
    """Those of them that are folders of their own."""
    etc: Sequence[str] = ()
    """Those of `ETC` that exist here."""
    by_root: bool
    """Whether the server is root: then the sandbox has no user namespace and drops root inside."""
    identity: Identity
    source: Path
    """Folder that holds the package salver_runner."""
    hard: Mapping[str, int] = field(default_factory=dict[str, int])
    """Limits that this server is under itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """File descriptors that bubblewrap gets."""

    filter: int | None
    files: Mapping[str, int]
    """Path inside to a descriptor with its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    options: Sequence[str]
    """For bubblewrap alone: on a command line, anyone on this machine could read them."""
    program: Sequence[str]
    """What it runs inside; carries the label."""


def command(machine: Machine, plan: Plan, launch: Launch, handed: Handed) -> Command:
    """What starts a sandbox with the launch's runner in it."""
    runner = [str(machine.python), "-I", "-S", "-c", BOOT, launch.task]
    return around(machine, plan, launch, handed, program=runner)


def around(
    machine: Machine, plan: Plan, launch: Launch, handed: Handed, *, program: Sequence[str]
) -> Command:
    return Command(
        options=[
            *_alone(machine, handed),
            *_environment(launch.environment),
            *_system(machine, handed.files),
            *_memory(launch.limits.tmp),
            *_folders(machine, launch),
            # All mounts are made; what stays writable is named above.
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"),
        ],
        program=[
            *_as_somebody(machine),
            *_limited(for_each_process(launch.limits, plan, hard=machine.hard)),
            *("/bin/sh", "-c", GATE, marks.written(marks.label(launch))),
            *program,
        ],
    )


def made_up(machine: Machine) -> dict[str, str]:
    """Files of /etc that tell nothing about this machine and its people."""
    uid, gid = machine.identity.uid, machine.identity.gid
    return {
        "/etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\n"
        f"{USER}:x:{uid}:{gid}:{USER}:/salver/home:/bin/sh\n",
        "/etc/group": f"root:x:0:\n{USER}:x:{gid}:\n",
        "/etc/hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }


def _alone(machine: Machine, handed: Handed) -> list[str]:
    namespaces = ["pid", "ipc", "uts", "net", "cgroup-try"]
    argv = [f"--unshare-{name}" for name in namespaces]
    if machine.by_root:
        # Only to become somebody else inside: bubblewrap under another uid couldn't enter the
        # folders of a data folder below root's private home.
        argv += ["--cap-drop", "ALL"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            argv += ["--cap-add", capability]
    else:
        argv += ["--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    argv += ["--new-session", "--as-pid-1", "--hostname", HOSTNAME]
    if handed.filter is not None:
        argv += ["--seccomp", str(handed.filter)]
    return argv


def _environment(extra: Mapping[str, str]) -> list[str]:
    always = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/salver/home",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108  the sandbox has its own
        "USER": USER,
    }
    argv = ["--clearenv"]
    for name, value in (always | dict(extra)).items():
        argv += ["--setenv", name, value]
    return argv


def _system(machine: Machine, files: Mapping[str, int]) -> list[str]:
    argv = ["--ro-bind", "/usr", "/usr"]
    for name, target in machine.links.items():
        argv += ["--symlink", target, f"/{name}"]
    for folder in (f"/{name}" for name in machine.folders):
        argv += ["--ro-bind", folder, folder]
    within = [*(f"/etc/{name}" for name in machine.etc), *map(str, machine.trees)]
    argv += _reachable(*within, *files)
    for path in within:
        argv += ["--ro-bind", path, path]
    for path, descriptor in files.items():
        argv += ["--perms", "0444", "--file", str(descriptor), path]
    return [*argv, "--proc", "/proc", "--dev", "/dev"]


def _memory(size: int) -> list[str]:
    argv: list[str] = []
    for path, most in {"/tmp": size, "/dev/shm": size, "/run": SMALL}.items():  # noqa: S108  they lie inside
        argv += ["--perms", "1777", "--size", str(most), "--tmpfs", path]
    return argv


def _folders(machine: Machine, launch: Launch) -> list[str]:
    read_only = {
        "/salver/in": launch.inbox,
        "/salver/line": launch.line,
        "/salver/source": machine.source,
        **{f"/salver/packs/{name}": folder for name, folder in launch.packs.items()},
        **{f"/salver/skills/{name}": folder for name, folder in launch.skills.items()},
    }
    read_write = {
        "/salver/out": launch.outbox,
        "/salver/home": launch.home,
        "/workspace": launch.work,
    }
    argv = _reachable(*read_only, *read_write)
    for place, folder in read_only.items():
        argv += ["--ro-bind", str(folder), place]
    for place, folder in read_write.items():
        argv += ["--bind", str(folder), place]
    return argv


def _reachable(*places: str) -> list[str]:
    """The folders above them, open to all; bubblewrap makes private ones, which root alone enters."""
    above = {str(folder): None for place in places for folder in reversed(PurePath(place).parents)}
    return [word for folder in above if folder != "/" for word in ("--dir", folder)]


def _as_somebody(machine: Machine) -> list[str]:
    if not machine.by_root:
        return []
    uid, gid = str(machine.identity.uid), str(machine.identity.gid)
    return [
        *(SETPRIV, "--reuid", uid, "--regid", gid, "--clear-groups"),
        *("--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"),
        *("--no-new-privs", "--"),
    ]


def _limited(most: Mapping[str, int]) -> list[str]:
    # Inside, since not even root may set another user's limits everywhere; and since the kernel
    # compares processes with the count of the innermost user namespace.
    return [PRLIMIT, *(f"--{name}={value}" for name, value in most.items()), "--"]
