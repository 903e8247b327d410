import os
from pathlib import Path

import pytest

from salver_runner.workspace import tree

TREE = (
    "a.py",
    "b.txt",
    ".env",
    "src/c.py",
    "src/d.ts",
    "src/deep/er/e.py",
    "src/deep/.hidden.py",
    ".git/config",
    ".git/objects/f.py",
    "x[1].py",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(root: Path, pattern: str) -> list[str]:
    entries = tree.files(str(root), pattern, go_on=lambda: True)
    return sorted(os.path.relpath(entry.path, root) for entry in entries)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.py", ["a.py", "x[1].py"]),
        ("./a.py", ["a.py"]),
        ("?.py", ["a.py"]),
        ("[ab].*", ["a.py", "b.txt"]),
        ("x[[]1].py", ["x[1].py"]),
        ("**/*.py", ["a.py", "src/c.py", "src/deep/er/e.py", "x[1].py"]),
        ("**/c.py", ["src/c.py"]),
        ("src/**/e.py", ["src/deep/er/e.py"]),
        ("src/**/**/e.py", ["src/deep/er/e.py"]),
        ("src/**", ["src/c.py", "src/d.ts", "src/deep/er/e.py"]),
        ("*/*.{py,ts}", ["src/c.py", "src/d.ts"]),
        ("{a.py,src/{c,d}.*}", ["a.py", "src/c.py", "src/d.ts"]),
        (".*", [".env"]),
        ("**/.hidden.py", ["src/deep/.hidden.py"]),
        ("**/.*", [".env", "src/deep/.hidden.py"]),
        (".git/**", [".git/config", ".git/objects/f.py"]),
        ("src", []),
        ("nothing/*", []),
    ],
)
def test_files_are_found_by_their_pattern(root: Path, pattern: str, names: list[str]) -> None:
    assert found(root, pattern) == names


@pytest.mark.parametrize("pattern", ["", "/", ".", "../*", "a/../b", "{a,b}" * 20])
def test_a_pattern_that_makes_no_sense_is_refused(root: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        found(root, pattern)


def test_links_are_followed_to_files_and_not_into_folders(root: Path) -> None:
    (root / "src/loop").symlink_to(root)
    (root / "src/self").symlink_to("self")
    (root / "src/gone").symlink_to("nowhere")
    (root / "src/link").symlink_to("c.py")
    os.mkfifo(root / "src/pipe")
    assert found(root, "src/**") == ["src/c.py", "src/d.ts", "src/deep/er/e.py", "src/link"]


def test_a_walk_ends_when_it_is_told_to(root: Path) -> None:
    asked = iter([True] * 6)
    found = tree.files(str(root), "**", go_on=lambda: next(asked, False))
    assert len(list(found)) < 6


def test_a_folder_that_is_not_there_is_an_error(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        found(root / "nowhere", "*")
