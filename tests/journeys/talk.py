"""One conversation, as somebody has it who speaks to the server's API."""

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from salver_server.settings import places
from tests.crash.harness import FINAL_STATES, House, Sent
from tests.journeys.waiting import PATIENCE, until


@dataclass(slots=True, kw_only=True)
class Talk:
    """A conversation in a session of its own, which its first message opens."""

    home: House
    agent: str = "salver"
    session: str = ""

    def say(self, text: str = "", *, ends: tuple[str, ...] = ("delivered",), **more: Any) -> Sent:
        """Send a message and go on at once."""
        place = {"session": self.session} if self.session else {"agent": self.agent, "new": True}
        sent = self.home.send(text, ends=ends, **place, **more)
        self.session = self.home.ask_after(sent)["session"]
        return sent

    def ask(self, text: str = "") -> str:
        """Send a message and return its reply."""
        return self.reply(self.say(text))

    def reply(self, sent: Sent) -> str:
        """The reply to a message, once it is there."""
        self.end(sent)
        assert sent.id in self.replies(), (self.home.ask_after(sent), self.home.log()[-4000:])
        return self.replies()[sent.id]

    def run(self, command: str) -> list[str]:
        """The lines that a command prints which the agent runs in its sandbox."""
        sent = self.say(f"!shell {command}")
        events = self.follow(sent)
        printed: list[str] = [one["text"] for one in events if one["event"] == "output"]
        return "".join(printed).splitlines()

    def end(self, sent: Sent) -> dict[str, Any]:
        """What became of a message, once nothing more will."""
        until(
            lambda: self.state(sent) in FINAL_STATES,
            what=lambda: (self.home.ask_after(sent), self.home.log()[-4000:]),
        )
        return self.home.ask_after(sent)

    def state(self, sent: Sent) -> str:
        return self.home.ask_after(sent)["state"]

    def running(self, sent: Sent) -> Sent:
        """Wait until a turn is at work on the message."""
        until(
            lambda: self.state(sent) == "running",
            what=lambda: (self.home.ask_after(sent), self.home.log()[-4000:]),
        )
        return sent

    def replies(self) -> dict[str, str]:
        """Message to the one reply that answers it."""
        replies = [one for one in self.look()["deliveries"] if one["kind"] == "reply"]
        answers = [(message, one["text"]) for one in replies for message in one["answers"]]
        assert len(dict(answers)) == len(answers), f"answered twice: {answers}"
        return dict(answers)

    def look(self) -> dict[str, Any]:
        """What the server says of the session."""
        return self.home.ask("GET", f"/sessions/{self.session}")

    def stop(self) -> None:
        self.home.ask("POST", f"/sessions/{self.session}/stop")

    def cancel(self, sent: Sent) -> None:
        self.home.ask("POST", f"/messages/{sent.id}/cancel")

    def command(self, text: str) -> str:
        """Send a command; returns its answer, which is there at once."""
        accepted = self.home.ask("POST", "/messages", json={"text": text, "session": self.session})
        found = self.home.ask("GET", f"/messages/{accepted['id']}")
        assert found["state"] in ("answered", "delivered"), found
        return self.replies()[accepted["id"]]

    def queued(self) -> list[str]:
        """The messages of the queue, in order."""
        found = self.home.ask("GET", f"/messages?session={self.session}")
        return [one["id"] for one in found if one["position"]]

    def follow(self, sent: Sent) -> Iterator[dict[str, Any]]:
        """What is shown of a message from now until its end, as it comes."""
        # Nothing is encrypted on a unix socket, and reading certificates would take its time.
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        transport = httpx2.HTTPTransport(uds=str(places(self.home.home).api_socket), verify=bare)
        with (
            httpx2.Client(transport=transport, base_url="http://salver") as client,
            client.stream("GET", f"/messages/{sent.id}/events", timeout=PATIENCE) as lines,
        ):
            yield from (json.loads(line) for line in lines.iter_lines() if line)
