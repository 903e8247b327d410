"""Skills: folders with a SKILL.md that agents read when a task is of their kind.

A skill is the person's, and seen read-only in a sandbox; one that cannot be used is told of and left
out, and the agents that want it do without.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from salver_server.agents.matter import front_matter
from salver_server.errors import Rejected
from salver_server.ids import SKILL_NAME, SkillName

FILE = "SKILL.md"
LONGEST_FILE = 100_000
"""Bytes of a SKILL.md."""
LONGEST_DESCRIPTION = 1024
"""Characters; it stands in every request."""
MOST_FILES = 1000
LARGEST = 50 * 2**20
"""Bytes of all files of a skill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    name: SkillName
    description: str
    """What it is for and when to use it, in one line."""
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A folder of skills as it lies there."""

    name: str
    skill: Skill | None
    problem: str
    """Why it cannot be used; empty if it can."""


class SkillBook:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[SkillName, tuple[tuple[int, ...], Found]] = {}
        """With the signature of what was read."""

    def get(self, name: SkillName) -> Found:
        """The skill as it is now."""
        signature = self._signature(name)
        if (known := self._read.get(name)) is None or known[0] != signature:
            known = self._read[name] = (signature, self._look(name))
        return known[1]

    def all(self) -> list[Found]:
        """Every folder where skills lie, by name."""
        try:
            names = sorted(entry.name for entry in self._folder.iterdir() if entry.is_dir())
        except FileNotFoundError:
            return []
        return [self.get(SkillName(name)) for name in names if not name.startswith(".")]

    def _signature(self, name: SkillName) -> tuple[int, ...]:
        try:
            file, folder = (self._folder / name / FILE).lstat(), (self._folder / name).lstat()
        except OSError:
            return ()
        return (file.st_ino, file.st_mtime_ns, file.st_size, folder.st_ino, folder.st_mtime_ns)

    def _look(self, name: SkillName) -> Found:
        try:
            return Found(name=name, skill=read(self._folder / name), problem="")
        except Rejected as exc:
            return Found(name=name, skill=None, problem=str(exc))


def read(folder: Path) -> Skill:
    """The skill in a folder; raises `Rejected` with what is wrong and what to do."""
    name = folder.name
    if not SKILL_NAME.fullmatch(name):
        raise Rejected(
            f"'{name}' cannot be a skill's name. Use 1 to 64 lower-case letters, digits and dashes."
        )
    try:
        _check(folder)
        with (folder / FILE).open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
        text = data.decode()
    except FileNotFoundError as exc:
        raise Rejected(f"There is no skill '{name}'. Put it in {folder / FILE}.") from exc
    except UnicodeDecodeError as exc:
        raise Rejected(
            f"{FILE} of the skill '{name}' is no text in UTF-8. Save it as one."
        ) from exc
    except OSError as exc:
        raise Rejected(f"The skill '{name}' cannot be read: {exc.strerror}.") from exc
    if len(data) > LONGEST_FILE:
        raise Rejected(
            f"{FILE} of the skill '{name}' has more than {LONGEST_FILE} bytes. Move parts of it into files"
            " beside it."
        )
    fields, _ = front_matter(text, file=f"{FILE} of the skill '{name}'")
    if fields.get("name") != name:
        raise Rejected(
            f"{FILE} in the folder '{name}' says 'name: {fields.get('name', '')}'. Make both the same."
        )
    description = " ".join(str(fields.get("description") or "").split())
    if not 0 < len(description) <= LONGEST_DESCRIPTION:
        raise Rejected(
            f"{FILE} of the skill '{name}' needs a 'description' of 1 to {LONGEST_DESCRIPTION} characters: what"
            " the skill is for and when to use it."
        )
    return Skill(name=SkillName(name), description=description, folder=folder)


def _check(folder: Path) -> None:
    """Raise `Rejected` for anything but files and folders of a bearable size that a sandbox may read."""
    size = 0
    for number, (path, found) in enumerate(_everything(folder)):
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise Rejected(
                f"The skill '{folder.name}' holds {path.relative_to(folder)}, which is neither a file nor a"
                " folder. Put a copy in its place."
            )
        # Inside, root is nobody: what belongs to root is read by its last bits.
        if os.geteuid() == 0 and not found.st_mode & stat.S_IROTH:
            raise Rejected(f"A sandbox may not read {path}. Allow it: chmod -R a+rX {folder}")
        size += found.st_size if stat.S_ISREG(found.st_mode) else 0
        if number > MOST_FILES or size > LARGEST:
            raise Rejected(
                f"The skill '{folder.name}' has more than {MOST_FILES} files or {LARGEST // 2**20} MB. Make it"
                " smaller."
            )


def _everything(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    yield folder, folder.lstat()
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                yield Path(entry.path), found
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(Path(entry.path))
