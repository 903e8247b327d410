"""A house under siege: hostile agents attack from their sandboxes while an innocent one goes on being asked."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from salver_server.ids import AgentName, SessionId
from salver_server.sessions.folders import folders
from salver_server.sessions.reading import DEADLINE
from salver_server.settings import places
from tests.crash import hostile_attacks
from tests.crash.harness import FINAL_STATES, House

PATIENCE = 40.0
"""Seconds for an attacked message to come to its end."""
SHARE = 10
"""By how much the innocent may be slower than before, beside the deadline: attackers need the processor, too."""
BREATH = 0.03
"""Seconds between two messages to the innocent."""
SECRET = "what-only-the-host-knows-7f3a"
"""In the host's files; looked for where it must not be."""
AGENT = """\
---
name: {name}
limits:
  memory_mb: {memory}
  processes: {processes}
  file_mb: {file}
  disk_mb: {disk}
  tmp_mb: {tmp}
---
"""

Message = dict[str, Any]
"""One that was accepted: its id and its session."""
AT_ONCE = 8
"""Attacks that are made at the same time, where nothing else is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attack."""

    state: str
    attempts: int
    reply: str
    log: str
    """Lines about its session."""
    asides: int
    """Folders that were put aside."""


@dataclass(slots=True)
class Siege:
    home: House
    innocent: str = ""
    """The innocent session."""
    victims: dict[Path, bytes] = field(default_factory=dict[Path, bytes])
    """Files of the host that must stay as they are."""
    attacks: int = 0
    agents: set[str] = field(default_factory=set[str])
    hostile: set[str] = field(default_factory=set[str])
    """Hostile sessions that are open."""
    made: dict[str, Path] = field(default_factory=dict[str, Path])
    """Message to the file that comes to be once its attack was made."""

    # People and agents

    def agent(
        self,
        name: str,
        *,
        memory: int = 256,
        processes: int = 64,
        file: int = 100,
        disk: int = 1000,
        tmp: int = 64,
    ) -> str:
        """An agent of this name, with limits in MB; made once."""
        if name not in self.agents:
            self.agents.add(name)
            text = AGENT.format(
                name=name, memory=memory, processes=processes, file=file, disk=disk, tmp=tmp
            )
            self.home.ask("POST", "/agents", json={"name": name, "text": text})
        return name

    def meet_the_innocent(self) -> None:
        hello = self.say("!say well", agent="innocent", new=False)
        self.innocent = hello["session"]
        assert self.end_of(hello)["state"] == "delivered"

    def say(self, text: str, *, session: str = "", **where: Any) -> Message:
        """Say something to an agent, the hostile one unless named, in a session of its own unless named."""
        to = {"session": session} if session else {"agent": "hostile", "new": True, **where}
        accepted = self.home.ask("POST", "/messages", json={"text": text, **to})
        if accepted["session"] != self.innocent and to.get("new", True):
            self.hostile.add(accepted["session"])
        return accepted

    def attack(
        self,
        name: str,
        *words: str,
        agent: str = "hostile",
        session: str = "",
        after: str = "",
        held: bool = False,
    ) -> Message:
        """Order this attack, before another order; the message, when repeated, finds it done.

        A held one is made no sooner than it is let go.
        """
        self.attacks += 1
        assert name in hostile_attacks.ATTACKS, name
        self.agent(agent)
        self._arm(agent)
        command = ["!shell python3 hostile_attacks.py", name, f"t{self.attacks}"]
        order = " ".join([*command, *map(quoted, words)])
        message = self.say(f"{order}\n{after}", agent=agent, session=session)
        work = self.home.home / "agents" / agent / "work"
        self.made[message["id"]] = work / f".made-t{self.attacks}"
        if not held:
            self.let_go(message)
        return message

    def let_go(self, attack: Message) -> None:
        made = self.made[attack["id"]]
        made.with_name(made.name.replace("made", "go")).touch()

    def outcomes(self, attacks: Mapping[str, Callable[[], Message]]) -> dict[str, Outcome]:
        """Make these attacks, some at a time, and see each to its end while the innocent are asked.

        They are held until the server has read their sessions' first rows, from which on it knows the file.
        """
        found: dict[str, Outcome] = {}
        waiting = list(attacks.items())
        while waiting:
            wave, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            try:
                with asked_meanwhile(self):
                    messages = {name: attack() for name, attack in wave}
                    for message in messages.values():
                        self.until(message, "running")
                        self.let_go(message)
                    ends = {name: self.end_of(message) for name, message in messages.items()}
                found |= {name: self._outcome(messages[name], end) for name, end in ends.items()}
                self.unharmed()
            finally:
                self.disarm()
        return found

    def _outcome(self, message: Message, end: dict[str, Any]) -> Outcome:
        log = [line for line in self.home.log().splitlines() if message["session"] in line]
        return Outcome(
            state=end["state"],
            attempts=end["attempts"],
            reply=self.reply(message),
            log="\n".join(log),
            asides=len(self._asides(message["session"])),
        )

    def _arm(self, agent: str) -> None:
        work = self.home.home / "agents" / agent / "work"
        if (work / "hostile_attacks.py").exists():
            return
        work.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(hostile_attacks.__file__, work)
        uid = self.home.rows("SELECT uid FROM install")[0][0]
        for path in (work, work / "hostile_attacks.py"):
            os.chown(path, uid, uid)

    def disarm(self) -> None:
        """End every hostile session, and take away what lies very deep or is very large."""
        for session in self.hostile:
            self.home.ask("POST", f"/sessions/{session}/close")
        left = [aside for session in self.hostile for aside in self._asides(session)]
        for place in ("agents/*/work", "homes/*", "sessions/*/out"):
            left += self.home.home.glob(f"{place}/fill-*")
        subprocess.run(["rm", "-rf", "--", *left], check=True)
        self.hostile.clear()

    # What becomes of it

    def state(self, message: Message) -> dict[str, Any]:
        return self.home.ask("GET", f"/messages/{message['id']}")

    def session(self, message: Message) -> dict[str, Any]:
        return self.home.ask("GET", f"/sessions/{message['session']}")

    def end_of(self, message: Message, *, within: float = PATIENCE) -> dict[str, Any]:
        """The message once nothing more will happen to it."""
        until = time.monotonic() + within
        while (found := self.state(message))["state"] not in FINAL_STATES:
            assert time.monotonic() < until, (found, self.home.log()[-4000:])
            time.sleep(0.02)
        return found

    def until(self, message: Message, state: str) -> None:
        until = time.monotonic() + PATIENCE
        while (found := self.state(message))["state"] != state:
            assert time.monotonic() < until, (found, self.home.log()[-4000:])
            time.sleep(0.01)

    def until_made(self, attacks: Iterable[Message]) -> None:
        """Wait until these attacks were made, whether there is a server or not."""
        for attack in attacks:
            self._until_there(self.made[attack["id"]])

    def until_there(self, name: str) -> None:
        """Wait until there is a file of this name in the hostile agent's work folder."""
        self._until_there(self.home.home / "agents" / "hostile" / "work" / name)

    def _until_there(self, path: Path) -> None:
        until = time.monotonic() + PATIENCE
        while not path.exists():
            assert time.monotonic() < until, (path, self.home.log()[-4000:])
            time.sleep(0.01)

    def reply(self, message: Message) -> str:
        texts = [
            it["text"]
            for it in self.session(message)["deliveries"]
            if message["id"] in it["answers"]
        ]
        return "\n".join(texts)

    def told_the_agent(self, session: str) -> str:
        """What the server itself has said to the agent."""
        rows = self.home.rows(
            "SELECT i.text FROM handovers h JOIN intake i ON i.id = h.message"
            " WHERE h.session = ? AND i.kind = 'note' AND h.state = 'answered'",
            [session],
        )
        return "\n".join(row[0] for row in rows)

    def _asides(self, session: str) -> list[Path]:
        return sorted((self.home.home / "sessions" / session).glob("out.aside-*"))

    def mark_of(self, session: str) -> str:
        return self.home.ask("GET", f"/sessions/{session}")["sandbox_mark"]

    def stop(self, message: Message) -> None:
        self.home.ask("POST", f"/sessions/{message['session']}/stop")

    def end_sandbox_of(self, message: Message) -> None:
        """SIGKILL the sandbox of its session, and see it buried."""
        for pid in self.home.sandboxes():
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            if message["session"].encode() in line:
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + PATIENCE
        while self.session(message)["sandbox"] != "asleep":
            assert time.monotonic() < until, self.home.log()[-4000:]
            time.sleep(0.01)

    # The host's own

    def named(self, word: str) -> str:
        """A path of the host, as the attacker might know it."""
        where = places(self.home.home)
        line = folders(where, SessionId(self.innocent), AgentName("innocent")).line_socket
        return word.format(
            home=self.home.home, innocent=self.innocent, api=where.api_socket, line=line
        )

    def guard(self, *paths: Path) -> None:
        """From here on these files must neither be read, nor changed, nor deleted by any sandbox."""
        for path in paths:
            if not path.exists():
                path.write_text(f"{SECRET} of {path}\n", encoding="utf-8")
                path.chmod(0o600)
            self.victims[path] = fingerprint(path)

    def unharmed(self) -> None:
        for path, before in self.victims.items():
            assert fingerprint(path) == before, path

    def alive(self) -> bool:
        return (
            psutil.pid_exists(self.home.pid) and psutil.Process(self.home.pid).status() != "zombie"
        )

    def memory(self) -> int:
        """Bytes that the server has in memory."""
        return psutil.Process(self.home.pid).memory_info().rss

    @contextlib.contextmanager
    def lean(self, most: int) -> Generator[None]:
        """Within this block the server must never take so many bytes more than at its start."""
        own = Path(f"/proc/{self.home.pid}")
        before = self.memory()
        (own / "clear_refs").write_text("5", encoding="ascii")  # forgets the peak
        yield
        status = (own / "status").read_text(encoding="utf-8")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        assert int(peak.split()[1]) * 1024 - before < most, (peak, before)

    @contextlib.contextmanager
    def follower(self, message: Message) -> Generator[None]:
        """Somebody who follows this message, and never reads what is told."""
        with socket.socket(socket.AF_UNIX) as dialled:
            dialled.connect(str(places(self.home.home).api_socket))
            path = f"/messages/{message['id']}/events"
            dialled.sendall(f"GET {path} HTTP/1.1\r\nhost: salver\r\n\r\n".encode())
            yield


def quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def fingerprint(path: Path) -> bytes:
    """Content and what the system knows of a file, but for when it was read last."""
    found = path.lstat()
    about = (found.st_ino, found.st_mode, found.st_uid, found.st_nlink, found.st_mtime_ns)
    return hashlib.sha256(path.read_bytes() + repr(about).encode()).digest()


@dataclass(slots=True)
class Innocents:
    """How the innocent session fared."""

    waits: list[float] = field(default_factory=list[float])
    """Seconds from each message to its delivered reply."""
    problem: str = ""


@contextlib.contextmanager
def asked_meanwhile(siege: Siege) -> Generator[Innocents]:
    """Ask the innocent session all the while; it must answer promptly, every time.

    Others may delay it by the deadline of a read; on a machine that is busy with more than this, it takes
    longer anyway.
    """
    found, over = Innocents(), threading.Event()
    over.set()
    _ask(siege.home.home, siege.innocent, found, over)
    assert not found.problem, (found.problem, siege.home.log()[-4000:])
    over.clear()
    prompt = DEADLINE + SHARE * found.waits.pop()
    asking = threading.Thread(
        target=_ask, args=(siege.home.home, siege.innocent, found, over), daemon=True
    )
    asking.start()
    try:
        yield found
    finally:
        over.set()
        asking.join(timeout=60)
    log = siege.home.log()[-4000:]
    assert not found.problem, (found.problem, log)
    assert max(found.waits) < prompt, (sorted(found.waits)[-5:], prompt, log)


def _ask(home: Path, session: str, found: Innocents, over: threading.Event) -> None:
    transport = httpx2.HTTPTransport(uds=str(places(home).api_socket))
    with httpx2.Client(transport=transport, base_url="http://salver", timeout=20) as client:
        try:
            while not over.is_set() or not found.waits:
                began = time.monotonic()
                answer = client.post("/messages", json={"text": "!say well", "session": session})
                id_ = answer.raise_for_status().json()["id"]
                while (state := client.get(f"/messages/{id_}").json()["state"]) not in FINAL_STATES:
                    if time.monotonic() - began > PATIENCE:
                        found.problem = f"an innocent message is still {state}"
                        return
                    time.sleep(0.003)
                if state != "delivered":
                    found.problem = f"an innocent message ended as {state}"
                    return
                found.waits.append(time.monotonic() - began)
                over.wait(BREATH)
        except (httpx2.HTTPError, KeyError, ValueError) as exc:
            found.problem = f"{type(exc).__name__}: {exc}"
