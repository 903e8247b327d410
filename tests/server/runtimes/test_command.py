"""From a launch to bubblewrap's command line."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from salver_server.ids import InstallId, SessionId
from salver_server.runtimes import MIB, Identity, Launch, Limits
from salver_server.runtimes.process import marks
from salver_server.runtimes.process.command import Handed, Machine, command, made_up
from salver_server.runtimes.process.limits import Plan

USER = Machine(
    bwrap=Path("/usr/bin/bwrap"),
    python=Path("/people/me/.pyenv/versions/3.11.7/bin/python3.11"),
    trees=(Path("/people/me/.pyenv/versions/3.11.7"),),
    links={"bin": "usr/bin", "lib": "usr/lib"},
    folders=["lib32"],
    etc=["ssl", "pki/tls/certs"],
    by_root=False,
    identity=Identity(uid=1000, gid=1001),
    source=Path("/code/container"),
    hard={"nofile": 1024},
)
ROOT = replace(USER, by_root=True)
KERNEL_HOLDS = Plan(memory="cgroup v2", processes="cgroup v2")
WE_HOLD = Plan(memory="watchdog", processes="user namespace")
HANDED = Handed(filter=6, files={"/etc/passwd": 7})
LAUNCH = Launch(
    install=InstallId("house"),
    session=SessionId("s-1"),
    generation=4,
    inbox=Path("/data/s-1/in"),
    outbox=Path("/data/s-1/out"),
    work=Path("/data/work"),
    home=Path("/data/home"),
    line=Path("/run/line"),
    packs={"pydantic-ai": Path("/data/packs/abc")},
    skills={"letters": Path("/data/skills/letters")},
    log=Path("/data/launch.log"),
    environment={"COLOUR": "blue"},
    limits=Limits(memory=64 * MIB, processes=40, file=2 * MIB, tmp=3 * MIB),
)


def argv(machine: Machine = USER, plan: Plan = WE_HOLD, launch: Launch = LAUNCH) -> list[str]:
    told = command(machine, plan, launch, HANDED)
    return [*told.options, *told.program]


def told(words: Sequence[str], option: str, count: int) -> set[tuple[str, ...]]:
    """What follows each occurrence of an option."""
    return {
        tuple(words[at + 1 : at + 1 + count]) for at, word in enumerate(words) if word == option
    }


def test_a_sandbox_shares_no_namespace_and_outlives_nobody_by_accident() -> None:
    for words in (argv(USER), argv(ROOT)):
        for name in ("pid", "ipc", "uts", "net", "cgroup-try"):
            assert f"--unshare-{name}" in words
        assert {"--new-session", "--clearenv", "--as-pid-1"} <= set(words)
        assert "--die-with-parent" not in words


def test_a_users_sandbox_has_a_user_namespace_and_no_further_ones() -> None:
    words = argv(USER)
    assert {"--unshare-user", "--disable-userns"} <= set(words)
    assert told(words, "--cap-drop", 1) == {("ALL",)}
    assert "--cap-add" not in words
    assert "/usr/bin/setpriv" not in words


def test_roots_sandbox_becomes_somebody_else_for_good() -> None:
    words = argv(ROOT)
    assert "--unshare-user" not in words
    assert told(words, "--cap-add", 1) == {("CAP_SETUID",), ("CAP_SETGID",), ("CAP_SETPCAP",)}
    drop = words[words.index("/usr/bin/setpriv") :]
    assert told(drop, "--reuid", 1) == {("1000",)}
    assert told(drop, "--regid", 1) == {("1001",)}
    assert told(drop, "--bounding-set", 1) == {("-all",)}
    assert {"--clear-groups", "--no-new-privs"} <= set(drop)


def test_every_folder_has_its_place_and_its_rights() -> None:
    words = argv()
    assert {
        ("/data/s-1/in", "/salver/in"),
        ("/run/line", "/salver/line"),
        ("/code/container", "/salver/source"),
        ("/data/packs/abc", "/salver/packs/pydantic-ai"),
        ("/data/skills/letters", "/salver/skills/letters"),
        ("/usr", "/usr"),
        ("/lib32", "/lib32"),
        ("/people/me/.pyenv/versions/3.11.7", "/people/me/.pyenv/versions/3.11.7"),
    } <= told(words, "--ro-bind", 2)
    assert told(words, "--bind", 2) == {
        ("/data/s-1/out", "/salver/out"),
        ("/data/home", "/salver/home"),
        ("/data/work", "/workspace"),
    }
    assert told(words, "--symlink", 2) == {("usr/bin", "/bin"), ("usr/lib", "/lib")}
    assert told(words, "--remount-ro", 1) == {("/",), ("/dev",)}


def test_what_lies_above_a_place_is_made_open_to_all_before_it() -> None:
    words = argv()
    made = [place for (place,) in told(words, "--dir", 1)]
    assert {
        "/etc",
        "/etc/pki",
        "/etc/pki/tls",
        "/people/me/.pyenv",
        "/salver",
        "/salver/packs",
    } <= set(made)
    assert words.index("/salver/packs") < words.index("/salver/packs/pydantic-ai")


def test_scratch_space_has_a_size() -> None:
    words = argv()
    sized = {words[at + 1]: words[at - 1] for at, word in enumerate(words) if word == "--tmpfs"}
    assert sized == {"/tmp": str(3 * MIB), "/dev/shm": str(3 * MIB), "/run": str(8 * MIB)}


def test_the_environment_is_the_launches_and_little_else() -> None:
    environment = dict(pair for pair in told(argv(), "--setenv", 2) if len(pair) == 2)
    assert environment["COLOUR"] == "blue"
    assert environment["HOME"] == "/salver/home"
    assert set(environment) == {"COLOUR", "HOME", "LANG", "PATH", "TMPDIR", "USER"}


def test_a_command_line_shows_no_environment_to_others() -> None:
    assert "blue" not in " ".join(command(USER, WE_HOLD, LAUNCH, HANDED).program)


def test_what_the_kernel_holds_for_all_is_not_asked_of_each() -> None:
    assert limits(argv(plan=KERNEL_HOLDS)) == {"core": 0, "fsize": 2 * MIB, "nofile": 1024}
    assert limits(argv(plan=WE_HOLD)) == {
        "core": 0,
        "fsize": 2 * MIB,
        "nofile": 1024,
        "nproc": 40,
        "data": 64 * MIB,
    }


def test_the_label_on_the_command_line_tells_whose_sandbox_it_is() -> None:
    (label,) = filter(None, map(marks.read, argv()))
    assert label == marks.label(LAUNCH)
    assert label.folders == (Path("/data/work"), Path("/data/home"), Path("/data/s-1/out"))


@pytest.mark.parametrize("task", ["serve", "heal"])
def test_the_runner_is_the_servers_python_without_its_packages(task: str) -> None:
    words = argv(launch=replace(LAUNCH, task=task))
    *python, boot, last = words[-6:]
    assert python == [str(USER.python), "-I", "-S", "-c"]
    assert "/salver/source" in boot
    assert last == task


def test_a_processor_without_a_filter_gets_none() -> None:
    none = command(USER, WE_HOLD, LAUNCH, replace(HANDED, filter=None))
    assert "--seccomp" not in none.options
    assert ("--seccomp", "6") in pairwise(argv())


def test_made_up_files_name_the_agent_alone() -> None:
    files = made_up(USER)
    assert "agent:x:1000:1001:" in files["/etc/passwd"]
    assert "agent:x:1001:" in files["/etc/group"]


def limits(words: Sequence[str]) -> dict[str, int]:
    after = words[words.index("/usr/bin/prlimit") + 1 :]
    pairs = [word.removeprefix("--").split("=") for word in after[: after.index("--")]]
    return {name: int(value) for name, value in pairs}
