"""A house that is killed: server and runner as separate processes, failpoints reported over FIFOs.

Verdicts are read from the files and over the API after a restart, never from what a process remembers.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from salver_server.settings import places

READY = 20.0
"""Seconds for a server to answer."""
REPORT = 20.0
"""Seconds for an armed failpoint to be reached."""
FINAL = 60.0
"""Seconds for everything that is owed to be answered."""


FILE = b"what lies in a file\n" * 1000


@dataclass(slots=True, kw_only=True)
class Sent:
    """A message that the test has sent, or tried to send, under its own key."""

    key: str
    text: str
    token: str
    """Stands exactly once in the one final reply."""
    ends: tuple[str, ...] = ("delivered",)
    files: tuple[str, ...] = ()
    """Ids of uploads that come with it; each holds `FILE`."""
    id: str = ""


@dataclass(slots=True)
class House:
    home: Path
    program: tuple[str, ...] = (
        *(sys.executable, "-m", "salver_server", "serve"),
        "--allow-key-file",  # no test has a keychain unless it brings one
    )
    environment: dict[str, str] = field(default_factory=dict[str, str])
    accounts: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """By provider: what its account is set up with once the server runs."""
    kills: int = 0
    sent: list[Sent] = field(default_factory=list[Sent])
    _process: subprocess.Popen[bytes] | None = None
    _client: httpx2.Client | None = None

    # The server

    def start(self, failpoint: str = "", **more: str) -> None:
        """Start a server, armed or not, and return when it answers or stands at its failpoint."""
        assert self._process is None
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SALVER_")},
            **self.environment,
            **more,
            "SALVER_HOME": str(self.home),
            "SALVER_FAILPOINT": failpoint,
        }
        with (self.home.parent / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.program, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._client = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(places(self.home).api_socket)),
            base_url="http://salver",
            timeout=10,
        )
        fifo = self.home / ".failpoint"
        until = time.monotonic() + READY
        while time.monotonic() < until:
            if _listens(places(self.home).api_socket):
                self._set_up()
                return
            if self._process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self._process.returncode}:\n{self.log()[-4000:]}"
                )
            if failpoint.startswith("server:") and fifo.exists() and _readable(self._reader, 0):
                return
            time.sleep(0.01)
        raise AssertionError(f"the server did not answer:\n{self.log()[-4000:]}")

    def _set_up(self) -> None:
        """What `salver provider set` does."""
        while self.accounts:
            provider, account = self.accounts.popitem()
            self.ask("PUT", f"/providers/{provider}", json=account)

    def kill(self) -> None:
        """SIGKILL the server, if it runs."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            self.kills += 1

    def end(self) -> int:
        """Ask the server to end, as a person does; returns its exit code."""
        assert self._process is not None
        if self._client is not None:
            self._client.close()
            self._client = None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=20)
        self._process = None
        return code

    def log(self) -> str:
        return (self.home.parent / "serve.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    # Failpoints

    _reader: int = -1

    def arm_server(self) -> None:
        """Make the FIFO on which the server reports."""
        self._open_fifo(self.home / ".failpoint", uid=os.getuid())

    def arm_runner(self, session: str) -> None:
        """Make the FIFO on which the runner of this session reports from inside its sandbox."""
        home = self.home / "homes" / session
        self._open_fifo(home / ".failpoint", uid=home.stat().st_uid)

    def _open_fifo(self, path: Path, *, uid: int) -> None:
        self.disarm()
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        os.chown(path, uid, -1)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._fifo = path

    _fifo: Path | None = None

    def disarm(self) -> None:
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1
        if self._fifo is not None:
            self._fifo.unlink(missing_ok=True)
            self._fifo = None

    def reports(self, *, within: float) -> bool:
        """Whether a report waits to be read."""
        return _readable(self._reader, within)

    def reported(self, name: str, *, within: float = REPORT) -> bool:
        """Whether the armed failpoint was reached; the process stands there until it is killed."""
        if not self.reports(within=within):
            return False
        return os.read(self._reader, 4096).decode().split()[0] == name

    # Sandboxes

    def sandboxes(self) -> list[int]:
        """Every process that carries this install's mark in its command line."""
        if not (self.home / "salver.db").exists():
            return []
        install = self.rows("SELECT id FROM install")[0][0].encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    line = (entry / "cmdline").read_bytes()
                    if b"salver-sandbox:" in line and install in line:
                        found.append(int(entry.name))
        return found

    def wait_for_sandbox(self) -> bool:
        """Return once a sandbox lives, or the armed failpoint is reported instead."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if self.sandboxes() or self.reports(within=0):
                return True
            time.sleep(0.01)
        return False

    def kill_sandboxes(self) -> int:
        """SIGKILL every sandbox of this house; returns how many processes there were."""
        pids = self.sandboxes()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 5
        while self.sandboxes() and time.monotonic() < until:
            time.sleep(0.01)
        self.kills += bool(pids)
        return len(pids)

    # Messages

    def upload(self, name: str, data: bytes = FILE) -> str:
        """Send a file ahead of its message; its id."""
        return self.ask("POST", "/files", params={"name": name}, content=data)["id"]

    def fetch(self, file: str) -> bytes:
        """What a file holds, as anybody gets it who asks."""
        assert self._client is not None
        return self._client.get(f"/files/{file}").raise_for_status().content

    def send(
        self,
        text: str,
        *,
        ends: tuple[str, ...] = ("delivered",),
        files: tuple[str, ...] = (),
        **more: Any,
    ) -> Sent:
        """Send a message once; it may or may not be accepted, since the server may die of it."""
        number = len(self.sent)
        token = f"pong-{number:04d}."
        sent = Sent(
            key=f"key-{number}", text=f"{text}\n!say {token}".strip(), token=token, ends=ends,
            files=files,
        )  # fmt: skip
        self.sent.append(sent)
        self.try_send(sent, **more)
        return sent

    def try_send(self, sent: Sent, **more: Any) -> bool:
        """What a platform does: offer the message again until it is acknowledged."""
        assert self._client is not None
        try:
            answer = self._client.post(
                "/messages",
                json={"text": sent.text, "key": sent.key, "files": sent.files, **more},
            )
        except httpx2.TransportError:
            return False
        assert answer.status_code == 202, answer.text
        sent.id = answer.json()["id"]
        return True

    def offer_until_refused(self) -> str:
        """Send long messages until one is refused; returns the words of the refusal."""
        assert self._client is not None
        for number in range(2000):
            answer = self._client.post(
                "/messages",
                json={"text": f"!say {'x' * 100_000}", "key": f"long-{number}", "new": True},
            )
            if answer.is_error:
                return answer.json()["error"]["message"]
        raise AssertionError("nothing was refused")

    def wait_for_trouble(self, sent: Sent, words: str) -> None:
        """Return once the message's session says why it waits."""
        session = self.ask_after(sent)["session"]
        until = time.monotonic() + 20
        while words not in (trouble := self.ask("GET", f"/sessions/{session}")["trouble"]):
            assert time.monotonic() < until, trouble
            time.sleep(0.02)

    def send_unwaited(self, text: str, **more: Any) -> Sent:
        """Send a message without waiting for the answer, because the server will stand still in it."""
        assert self._client is not None
        before, self._client.timeout = self._client.timeout, httpx2.Timeout(0.5)
        try:
            return self.send(text, **more)
        finally:
            self._client.timeout = before

    def ask(self, method: str, path: str, **more: Any) -> Any:
        assert self._client is not None
        answer = self._client.request(method, path, **more)
        assert not answer.is_error, answer.text
        return answer.json() if answer.content else None

    def ask_after(self, sent: Sent) -> dict[str, Any]:
        """What the server says of a message now."""
        return self.ask("GET", f"/messages/{sent.id}")

    def wait_for(self, sent: Sent, state: str) -> None:
        until = time.monotonic() + FINAL
        while (found := self.ask_after(sent))["state"] != state:
            assert time.monotonic() < until, found
            time.sleep(0.01)

    def put_outbound_aside(self, session: str) -> None:
        """Give the session a new epoch and no outbound.db, as the server does with one it cannot trust."""
        folder = self.home / "sessions" / session
        (folder / "out").rename(folder / f"out.aside-{time.time_ns()}")
        with contextlib.closing(sqlite3.connect(self.home / "salver.db")) as conn, conn:
            epoch = time.time_ns()
            conn.execute(
                "UPDATE sessions SET epoch = ?, read_seq = 0 WHERE id = ?", (epoch, session)
            )

    def settle(self) -> None:
        """Offer every message that was not acknowledged again, then wait until nothing is owed."""
        for sent in self.sent:
            if not sent.id:
                assert self.try_send(sent)
        until = time.monotonic() + FINAL
        while True:
            owed = [
                s
                for s in self.sent
                if self.ask("GET", f"/messages/{s.id}")["state"] not in FINAL_STATES
            ]
            if not owed:
                return
            if time.monotonic() > until:
                states = {s.key: self.ask("GET", f"/messages/{s.id}") for s in owed}
                raise AssertionError(f"still owed: {states}\n{self.log()[-6000:]}")
            time.sleep(0.02)

    def rows(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """What salver.db says."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.home}/salver.db?mode=ro", uri=True, timeout=10)
        ) as conn:
            return conn.execute(sql, tuple(values)).fetchall()

    def verify(self) -> None:
        """Nothing lost, nothing answered twice, every state final and as expected."""
        replies = [
            (text, json.loads(answers))
            for text, answers in self.rows(
                "SELECT text, answers FROM deliveries WHERE kind = 'reply'"
            )
        ]
        for sent in self.sent:
            found = self.ask("GET", f"/messages/{sent.id}")
            assert found["state"] in sent.ends, (sent, found, self.log()[-6000:])
            accepted = self.rows("SELECT count(*) FROM intake WHERE key = ?", [sent.key])[0][0]
            assert accepted == 1, sent
            answering = [text for text, answers in replies if sent.id in answers]
            if found["state"] == "delivered":
                assert len(answering) == 1, (sent, answering)
                assert answering[0].count(sent.token) == 1, (sent, answering)
                everywhere = sum(text.count(sent.token) for text, _ in replies)
                assert everywhere == 1, (sent, replies)
            assert [self.fetch(file["id"]) for file in found["files"]] == [FILE] * len(sent.files)
        self._verify_outbound()
        self._verify_files()

    def _verify_files(self) -> None:
        """Every file that anybody can see is whole, and none lies there that nobody can."""
        for place, owner in (("intake", "message"), ("outgoing", "delivery")):
            rows = self.rows(
                f"SELECT {owner}, name, size FROM attachments WHERE {owner} IS NOT NULL"
            )
            known = {f"{folder}/{name}": size for folder, name, size in rows}
            lies = {
                str(path.relative_to(self.home / place)): path.stat().st_size
                for path in (self.home / place).glob("*/*")
                if not path.parent.name.startswith("fil-")
            }
            assert lies == known, place

    def _verify_outbound(self) -> None:
        """No message has two acknowledgements in any outbound.db of its session, put aside or not."""
        for session in (self.home / "sessions").iterdir():
            acks: dict[int, int] = {}
            for path in session.glob("out*/outbound.db"):
                with (
                    contextlib.suppress(sqlite3.OperationalError),
                    contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn,
                ):
                    for (message,) in conn.execute("SELECT message FROM log WHERE kind = 'ack'"):
                        acks[message] = acks.get(message, 0) + 1
            twice = {message: count for message, count in acks.items() if count > 1}
            assert not twice, (session.name, twice)

    def close(self) -> None:
        """Leave nothing behind."""
        self.disarm()
        self.kill()
        self.kill_sandboxes()


FINAL_STATES = ("delivered", "perhaps delivered", "failed", "stopped", "cancelled")


@contextlib.contextmanager
def house(folder: Path, **environment: str) -> Generator[House]:
    found = House(folder / "home", environment=environment)
    found.home.mkdir(mode=0o700)
    try:
        yield found
    finally:
        found.close()


def _listens(path: Path) -> bool:
    # Not the client: it leaves a socket behind when nobody listens.
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _readable(fd: int, within: float) -> bool:
    if fd < 0:
        return False
    return bool(select.select([fd], [], [], within)[0])
