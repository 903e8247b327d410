"""What a program inside a real sandbox sees and may do."""

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salver_server.errors import NeedsUser
from salver_server.runtimes import Identity, Runtime
from salver_server.runtimes.process import open_process
from tests.fakes.yard import Yard, report

pytestmark = pytest.mark.sandbox

TRY = """
import os, errno
def tried(act, *words):
    try:
        act(*words)
    except OSError as exc:
        return errno.errorcode[exc.errno]
    return "done"
"""


async def found(runtime: Runtime, yard: Yard, script: str) -> dict[str, Any]:
    launch = yard.launch(TRY + script)
    sandbox = await runtime.start(launch)
    answer = await report(launch)
    await sandbox.ended()
    return answer


async def test_it_runs_as_nobody_of_power(runtime: Runtime, yard: Yard) -> None:
    script = """
import pwd
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
init = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines())
report(
    ids=sorted({*os.getresuid(), *os.getresgid()}),
    init=init["Uid"].split()[0],
    caps=[int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")],
    no_new_privs=status["NoNewPrivs"],
    filtered=status["Seccomp"],
    name=pwd.getpwuid(os.getuid()).pw_name,
)
"""
    answer = await found(runtime, yard, script)
    identity = yard.site.identity
    assert answer == {
        "ids": sorted({identity.uid, identity.gid}),
        "init": str(identity.uid),
        "caps": [0, 0, 0, 0, 0],
        "no_new_privs": "1",
        "filtered": "2",
        "name": "agent",
    }


async def test_a_program_owned_by_root_does_not_raise_it(runtime: Runtime, yard: Yard) -> None:
    script = """
import subprocess, time
su = subprocess.Popen(["/usr/bin/su"], stdin=subprocess.PIPE)
while not os.readlink(f"/proc/{su.pid}/exe").endswith("/su"):
    time.sleep(0.001)
status = open(f"/proc/{su.pid}/status").read()
su.kill()
report(
    setuid=bool(os.stat("/usr/bin/su").st_mode & 0o4000),
    ran_as=status.partition("Uid:")[2].split()[:4],
    nosuid=[bool(os.statvfs(path).f_flag & os.ST_NOSUID) for path in ("/usr", "/workspace", "/tmp")],
)
"""
    assert await found(runtime, yard, script) == {
        "setuid": True,
        "ran_as": [str(yard.site.identity.uid)] * 4,
        "nosuid": [True, True, True],
    }


async def test_only_its_own_folders_can_be_written(runtime: Runtime, yard: Yard) -> None:
    script = """
places = ["/", "/etc", "/usr", "/dev", "/salver", "/salver/in", "/salver/line", "/salver/source",
          "/proc", "/root", "/workspace", "/salver/out", "/salver/home", "/tmp", "/dev/shm", "/run"]
report(writable=[place for place in places if os.path.isdir(place)
                 and tried(lambda: open(place + "/new", "w").close()) == "done"])
"""
    assert await found(runtime, yard, script) == {
        "writable": ["/workspace", "/salver/out", "/salver/home", "/tmp", "/dev/shm", "/run"]
    }


async def test_it_sees_nothing_else_of_this_machine(
    runtime: Runtime, yard: Yard, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the house", encoding="utf-8")
    script = f"""
report(
    top=sorted(os.listdir("/")),
    secret=os.path.exists({str(secret)!r}),
    shadow=os.path.exists("/etc/shadow"),
    users=[line.split(":")[0] for line in open("/etc/passwd")],
    host=os.uname().nodename,
    processes=sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    environment=sorted(os.environ),
    session=os.getsid(0) == 1,
    key_files=[tried(open, f"/proc/{{name}}") for name in ("kcore", "kmsg")],
)
"""
    answer = await found(runtime, yard, script)
    top = set(answer.pop("top"))
    assert {"usr", "etc", "proc", "dev", "tmp", "run", "salver", "workspace"} <= top
    assert not top & {"home", "var", "sys", "boot", "mnt", "media", "srv"}
    failures = answer.pop("key_files")
    assert "done" not in failures
    assert answer == {
        "secret": False,
        "shadow": False,
        "users": ["root", "agent"],
        "host": "salver",
        "processes": [1, 2],
        "environment": ["HOME", "LANG", "OLDPWD", "PATH", "PWD", "TMPDIR", "USER"],
        "session": True,
    }


async def test_it_reaches_no_network(runtime: Runtime, yard: Yard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"""
import socket
def reach(address):
    with socket.socket() as one:
        one.settimeout(1)
        one.connect(address)
report(
    server=tried(reach, ("127.0.0.1", {server.getsockname()[1]})),
    world=tried(reach, ("192.0.2.1", 80)),
    interfaces=[name for _, name in socket.if_nameindex()],
)
"""
        answer = await found(runtime, yard, script)
    assert answer == {"server": "ECONNREFUSED", "world": "ENETUNREACH", "interfaces": ["lo"]}


async def test_orphans_are_taken_in_and_their_deaths_noted(runtime: Runtime, yard: Yard) -> None:
    script = """
import subprocess, time
subprocess.run(["/bin/sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done"])
deadline = time.monotonic() + 5
def others():
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 2]
while others() and time.monotonic() < deadline:
    time.sleep(0.01)
report(left=others())
"""
    assert await found(runtime, yard, script) == {"left": []}


async def test_the_runner_hears_an_interrupt(runtime: Runtime, yard: Yard) -> None:
    script = "import signal; report(heeded=signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    assert await found(runtime, yard, script) == {"heeded": True}


async def test_a_data_folder_below_a_private_home_is_no_obstacle(
    runtime: Runtime, yard: Yard
) -> None:
    yard.place.chmod(0o700)
    script = "open('/workspace/here', 'w').close(); report(read=os.listdir('/salver/in'))"
    assert await found(runtime, yard, script) == {"read": ["script.py"]}
    owner = (yard.place / "s-1" / "work" / "here").stat()
    assert (owner.st_uid, owner.st_gid) == (yard.site.identity.uid, yard.site.identity.gid)


async def test_server_files_stay_out_of_reach_through_links(
    runtime: Runtime, yard: Yard, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the house", encoding="utf-8")
    launch = yard.launch(TRY + "report(read=tried(lambda: open('/workspace/link').read()))")
    (launch.work / "link").symlink_to(secret)
    await runtime.start(launch)
    assert await report(launch) == {"read": "ENOENT"}


async def test_the_runners_python_is_the_servers_own(runtime: Runtime, yard: Yard) -> None:
    script = "import sys; report(version=list(sys.version_info[:3]), flags=[sys.flags.isolated, sys.flags.no_site])"
    assert await found(runtime, yard, script) == {
        "version": list(sys.version_info[:3]),
        "flags": [1, 1],
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run sandboxes as somebody else")
async def test_root_is_never_let_inside(yard: Yard) -> None:
    site = replace(yard.site, identity=Identity(uid=0, gid=0))
    async with open_process(site) as runtime:
        probe = await runtime.probe()
        assert (probe.works, "root" in probe.reason) == (False, True)
        with pytest.raises(NeedsUser, match="root"):
            await runtime.start(yard.launch(""))
