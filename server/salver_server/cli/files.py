"""Files that come with messages, as the command line shows and keeps them."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from salver_server.cli import show
from salver_server.cli.connection import EXIT_USAGE, fail
from salver_server.files.names import numbered
from salver_server.kit.sizes import sized
from salver_server.settings import places, read_settings

Owner = dict[str, Any]
"""A message or a delivery, as the API shows it."""


def lines(owner: Owner, *, save: Path | None = None) -> Iterable[str]:
    """One line for each of its files, with where it lies: in the data folder, or below `save`."""
    for file in owner["files"]:
        where = path(owner, file)
        if save is not None:
            where = saved(where, save)
        yield f"· file {show.plain(file['name'])} ({sized(file['size'])}): {show.plain(str(where))}"


def path(owner: Owner, file: dict[str, Any]) -> Path:
    """Where a file lies in the data folder, which is on this computer."""
    home = places(read_settings().home)
    root = home.outgoing if "answers" in owner else home.intake
    return root / owner["id"] / file["name"]


def saved(source: Path, folder: Path) -> Path:
    """Copy the file to a folder under a name that nothing has yet."""
    target, number = folder / source.name, 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as original:
            while True:
                try:
                    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                except FileExistsError:
                    number += 1
                    target = folder / numbered(source.name, number)
                    continue
                with os.fdopen(handle, "wb") as copy:
                    shutil.copyfileobj(original, copy)
                return target
    except OSError as exc:
        fail(
            f"{source} cannot be saved to {folder}: {exc.strerror}. It stays where it is.",
            EXIT_USAGE,
        )
