"""The checkout as the house tests see it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "salver_server"
RUNNER = ROOT / "container" / "salver_runner"
DESKTOP = ROOT / "desktop" / "salver_desktop"
TESTS = ROOT / "tests"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def names_of_tests(path: Path) -> set[str]:
    """The names of the test functions that stand in a file or anywhere below a folder."""
    files = sources(path) if path.is_dir() else [path]
    return {name for file in files if file.exists() for name in _tests(parsed(file))}


def _tests(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield node.name


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
