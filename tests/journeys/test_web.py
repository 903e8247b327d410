"""The web from inside a real sandbox, as far as it can be seen without one outside: who is refused, and when.

What is listed here exists nowhere (`.invalid`), so that being let through shows as not being found.
"""

import json
from pathlib import Path

import pytest

from salver_server.runtimes.process.machine import interpreter
from tests.crash.harness import House
from tests.journeys.conftest import Build, lay, write_agent
from tests.journeys.providers import DEMO, Model, Provider
from tests.journeys.talk import Talk

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

LISTED, OTHER = "nowhere.invalid", "elsewhere.invalid"
READ = """\
import sys, urllib.request
for host in sys.argv[1:]:
    try:
        urllib.request.urlopen(f"https://{host}/")
    except OSError as exc:
        print(exc)
"""
WAITS = "403 Salver does not let you reach {}: web: waits for your consent"
UNLISTED = "403 Salver does not let you reach {}: it is not among the 'sites:'"
LET_OUT = "502 Salver cannot reach {}: its name"


def asking(provider: Provider, matter: str) -> str:
    """An AGENT.md that asks for the web."""
    return provider.agent().replace("---", f"---\n{matter}", 1)


def allow(home: House) -> None:
    asked = home.ask("GET", "/agents/salver/reach")
    home.ask("PUT", "/agents/salver/consent", json={"what": asked["what"]})


def tried(talk: Talk, *hosts: str) -> list[str]:
    """What a command is told that wants to read these hosts."""
    return talk.run(f"{interpreter()} read.py {' '.join(hosts)}")


def test_nothing_is_reached_before_a_person_agreed(build: Build) -> None:
    home = build()
    write_agent(home, "salver", asking(DEMO, f"sites: [{LISTED}]"))
    lay(home, "read.py", READ)
    home.start()
    talk = Talk(home=home)
    (line,) = tried(talk, LISTED)
    assert WAITS.format(LISTED) in line

    allow(home)
    listed, other, address = tried(talk, LISTED, OTHER, "127.0.0.1")
    assert LET_OUT.format(LISTED) in listed
    assert UNLISTED.format(OTHER) in other
    assert "'127.0.0.1': it is an address" in address

    home.ask("DELETE", "/agents/salver/consent")
    (line,) = tried(talk, LISTED)
    assert WAITS.format(LISTED) in line


def test_an_agent_without_sites_reaches_nothing(build: Build) -> None:
    home = build()
    lay(home, "read.py", READ)
    home.start()
    (line,) = tried(Talk(home=home), LISTED)
    assert "403 Salver does not let you reach" in line
    assert "lists no 'sites:'" in line


def test_only_https_has_a_way_out_and_no_command_is_told_the_token(house: House) -> None:
    talk = Talk(home=house)
    lines = talk.run("env; cat /proc/self/environ | tr '\\0' '\\n'")
    proxies = {line.partition("=")[0] for line in lines if "proxy" in line.lower()}
    assert proxies == {"HTTPS_PROXY", "https_proxy"}
    folder: Path = house.home / "sessions" / talk.session / "in"
    token = json.loads((folder / "launch.json").read_text(encoding="utf-8"))["token"]
    assert token not in "".join(lines)


def test_a_model_is_told_why_a_page_is_out_of_reach(build: Build, model: Model) -> None:
    home = build(model.provider)
    write_agent(home, "salver", asking(model.provider, "web: public"))
    home.start()
    talk = Talk(home=home)
    urls = [f"https://{OTHER}/", "https://169.254.169.254/latest", "file:///etc/passwd"]
    calls = "\n".join(f"!call fetch {json.dumps({'url': url})}" for url in urls)

    def told(about: str) -> list[str]:
        talk.ask(f"{calls}\n!say {about}")
        last = model.requests(about)[-1]
        return [message["content"] for message in last if message["role"] == "tool"][-len(urls) :]

    assert all("waits for your consent" in line for line in told("before")[:1])
    allow(home)
    outside, metadata, file = told("afterwards")
    assert f"Salver cannot reach {OTHER}: its name" in outside
    assert "'169.254.169.254': it is an address" in metadata
    assert "only https addresses can be fetched" in file
