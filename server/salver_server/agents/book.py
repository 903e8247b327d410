"""Which agents there are, and which version of each AGENT.md counts.

The files are the truth and may be edited by hand at any time; salver.db keeps the last version that
could be used, so that a broken file leaves the agent as it was and shows why.
"""

import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from salver_server.agents import consent, store
from salver_server.agents.base import BaseBook
from salver_server.agents.definition import Definition, parse
from salver_server.agents.skills import Skill, SkillBook
from salver_server.clock import Clock, stamp
from salver_server.errors import Conflict, Missing, Rejected
from salver_server.ids import AGENT_NAME, AgentName
from salver_server.store import Database

logger = logging.getLogger(__name__)

FIRST = AgentName("salver")
TEMPLATE = """\
---
name: "{title}"
---
You are {title}, a personal agent. You work in /workspace, in a sandbox of your own.
Answer briefly and say what you did.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One agent as it counts now."""

    name: AgentName
    definition: Definition
    text: str
    problem: str
    """Why the file as it lies there is not used; empty if it is."""
    signature: tuple[int, int, int]
    """Of the file that was last looked at."""
    base: str = ""
    """What all agents of the house are told."""
    skills: tuple[Skill, ...] = ()
    """Those of its skills that can be used."""
    warnings: tuple[str, ...] = ()
    """What it does without, and why."""
    agreed: str = ""
    """What a person agreed to that it may reach beyond its sandbox; counts only if it asks for that."""

    @property
    def told(self) -> str:
        """All that a runner of this agent is started with; another text is another runner."""
        parts = [self.text, self.base, *(f"{it.name} {it.description}" for it in self.skills)]
        return "\0".join(part for part in parts if part)

    @property
    def waits(self) -> str:
        """What a person must do before all of it counts, in words; empty if nothing waits."""
        return consent.waits(self.name, self.definition, self.agreed)


class AgentBook:
    def __init__(
        self, *, folder: Path, skills: SkillBook, database: Database, clock: Clock
    ) -> None:
        self._folder = folder
        self._skills = skills
        self._base = BaseBook(folder / "BASE.md", database)
        self._database = database
        self._clock = clock
        self._standings: dict[AgentName, Standing] = {}
        self.unusable: dict[AgentName, str] = {}
        """Agents of which no version was ever usable, and why; as of the last refresh."""

    async def open(self) -> None:
        """Read what is there; a house without any agent gets its first one."""
        for row in await self._database.read(store.agents):
            with contextlib.suppress(
                Rejected
            ):  # taken by an older Salver; the file says why not now
                self._standings[row.name] = Standing(
                    name=row.name,
                    definition=parse(row.text),
                    text=row.text,
                    problem=row.problem,
                    signature=(0, 0, 0),
                    agreed=row.agreed,
                )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self.refresh()
        if not self._standings and not self.unusable:
            await self.new(FIRST)

    async def refresh(self) -> list[Standing]:
        """Every agent that was ever usable, after a look at every file."""
        names = set(self._standings)
        for entry in self._folder.iterdir():
            if AGENT_NAME.fullmatch(entry.name) and (entry / "AGENT.md").is_file():
                names.add(AgentName(entry.name))
        unusable: dict[AgentName, str] = {}
        found: list[Standing] = []
        for name in sorted(names):
            try:
                found.append(await self.get(name))
            except Rejected as exc:
                if self.unusable.get(name) != str(exc):
                    logger.warning("agent not usable", extra={"agent": name, "why": str(exc)})
                unusable[name] = str(exc)
        self.unusable = unusable
        return found

    async def get(self, name: AgentName) -> Standing:
        """The agent as it counts now; raises `Missing`, or `Rejected` where no version was ever usable."""
        standing = await self._own(name)
        base = await self._base.get()
        skills = [self._skills.get(skill) for skill in dict.fromkeys(standing.definition.skills)]
        problems = [base.problem, *(found.problem for found in skills)]
        return replace(
            standing,
            base=base.text,
            skills=tuple(found.skill for found in skills if found.skill),
            warnings=tuple(problem for problem in problems if problem),
        )

    async def _own(self, name: AgentName) -> Standing:
        """What its own file says."""
        path = self._file(name)
        standing = self._standings.get(name)
        found = self._stat(name)
        if found is None:
            if standing is None:
                raise self._missing(name)
            return await self._complain(
                standing, (0, 0, 0), "AGENT.md is gone. Put it back, or remove the agent."
            )
        signature = (found.st_ino, found.st_mtime_ns, found.st_size)
        if standing is not None and standing.signature == signature:
            return standing
        text = ""
        try:
            text = path.read_text(encoding="utf-8")
            definition = parse(text)
        except (Rejected, UnicodeDecodeError) as exc:
            if standing is None:
                raise Rejected(f"Agent '{name}': {exc}") from exc
            return await self._complain(standing, signature, str(exc))
        if standing is None or standing.text != text or standing.problem:
            now = stamp(self._clock.now())
            await self._database.write(lambda conn: store.keep(conn, name, text, now))
        # Looked up again: a person may have agreed while the version was kept.
        known = self._standings.get(name)
        standing = Standing(
            name=name,
            definition=definition,
            text=text,
            problem="",
            signature=signature,
            agreed=known.agreed if known else "",
        )
        self._standings[name] = standing
        return standing

    def require(self, name: AgentName) -> None:
        """Raises `Missing` where there is no such agent, usable or not."""
        if name not in self._standings and self._stat(name) is None:
            raise self._missing(name)

    def _missing(self, name: str) -> Missing:
        return Missing(f"There is no agent '{name}'. Agents: {', '.join(sorted(self._standings))}.")

    async def new(self, name: str, text: str | None = None) -> Standing:
        """Make an agent; raises `Conflict` when there is one, `Rejected` for a bad name or text."""
        if not AGENT_NAME.fullmatch(name):
            raise Rejected(
                f"'{name}' cannot be an agent's name. Use 1 to 40 lower-case letters, digits and dashes."
            )
        agent = AgentName(name)
        if self._file(agent).exists() or agent in self._standings:
            raise Conflict(f"There is an agent '{name}' already. Edit it, or choose another name.")
        return await self.put(
            agent, text if text is not None else TEMPLATE.format(title=name.capitalize())
        )

    async def put(self, name: AgentName, text: str) -> Standing:
        """Replace an agent's AGENT.md; raises `Rejected` for a text that cannot be used, changing nothing."""
        parse(text)
        path = self._file(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(path, text)
        return await self.get(name)

    async def allow(self, name: AgentName, what: str) -> Standing:
        """A person agrees to what was shown; raises `Conflict` when the agent no longer asks for just that."""
        standing = await self.get(name)
        if not what or what != consent.asks(standing.definition):
            raise Conflict(
                f"AGENT.md of '{name}' does not ask for that. Look at it again: `salver agents allow {name}`."
            )
        now = stamp(self._clock.now())
        await self._database.write(lambda conn: store.agree(conn, name, what, now))
        return self._now_agreed(name, what)

    async def disallow(self, name: AgentName) -> Standing:
        """Take every consent back."""
        await self.get(name)
        await self._database.write(lambda conn: store.take_back(conn, name))
        return self._now_agreed(name, "")

    def _now_agreed(self, name: AgentName, what: str) -> Standing:
        # Removed meanwhile, it has taken its consents along.
        standing = self._standings.get(name)
        if standing is None:
            raise self._missing(name)
        self._standings[name] = standing = replace(standing, agreed=what)
        return standing

    async def remove(self, name: AgentName) -> Path:
        """Take an agent out of service; its folder is moved aside, and where to is returned."""
        self.require(name)
        now = self._clock.now()
        aside = _aside(self._folder, name, now)
        aside.parent.mkdir(exist_ok=True, mode=0o700)
        (self._folder / name).mkdir(
            exist_ok=True, mode=0o700
        )  # a person may have removed it already
        (self._folder / name).rename(aside)
        await self._database.write(lambda conn: store.remove(conn, name, stamp(now)))
        self._standings.pop(name, None)
        return aside

    async def _complain(
        self, standing: Standing, signature: tuple[int, int, int], problem: str
    ) -> Standing:
        if standing.problem != problem:
            await self._database.write(lambda conn: store.say_problem(conn, standing.name, problem))
        standing = replace(standing, problem=problem, signature=signature)
        self._standings[standing.name] = standing
        return standing

    def _file(self, name: AgentName) -> Path:
        return self._folder / name / "AGENT.md"

    def _stat(self, name: AgentName) -> os.stat_result | None:
        """Of its file; None where there is none."""
        if not AGENT_NAME.fullmatch(name):
            return None
        try:
            return self._file(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None


def _aside(folder: Path, name: AgentName, now: datetime) -> Path:
    return folder / ".removed" / f"{name}-{now:%Y%m%d-%H%M%S-%f}"


def _replace(path: Path, text: str) -> None:
    """Write beside, then rename: a crash leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".AGENT.md.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
