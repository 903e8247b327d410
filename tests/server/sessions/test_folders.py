import os
from pathlib import Path

import pytest

from salver_server.ids import AgentName, SessionId
from salver_server.runtimes import Identity
from salver_server.sessions.folders import (
    MOST_ASIDE,
    Folders,
    folders,
    give,
    make,
    remove,
    set_aside,
)
from salver_server.settings import places

ME = Identity(uid=os.geteuid(), gid=os.getegid())
SOMEBODY = Identity(uid=54321, gid=54321)


@pytest.fixture
def place(tmp_path: Path) -> Folders:
    where = places(tmp_path / "home")
    return folders(where, SessionId("ses-1"), AgentName("salver"))


def test_naming_folders_makes_none(place: Folders, tmp_path: Path) -> None:
    assert place.inbound == tmp_path / "home" / "sessions" / "ses-1" / "in" / "inbound.db"
    assert place.outbound == tmp_path / "home" / "sessions" / "ses-1" / "out" / "outbound.db"
    assert place.work == tmp_path / "home" / "agents" / "salver" / "work"
    assert not (tmp_path / "home").exists()


def test_sockets_have_addresses_that_fit(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["a-rather-long-name"] * 20)
    place = folders(places(deep), SessionId("ses-" + "0" * 20), AgentName("a" * 40))
    assert len(bytes(place.gateway_socket)) <= 100
    other = folders(places(deep), SessionId("ses-" + "1" * 20), AgentName("a" * 40))
    assert place.line != other.line


def test_every_folder_is_made_for_the_sandbox_alone_whatever_the_umask(place: Folders) -> None:
    before = os.umask(0)
    try:
        make(place, ME)
    finally:
        os.umask(before)
    made = [place.inbox, place.outbox, place.work, place.home, place.line]
    above = [path.parent for path in made]
    assert {path.stat().st_mode & 0o777 for path in (*made, *above)} == {0o700}
    make(place, ME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_as_root_the_folders_belong_to_the_sandbox_s_user_and_those_above_do_not(
    place: Folders,
) -> None:
    make(place, SOMEBODY)
    made = [place.inbox, place.outbox, place.work, place.home, place.line]
    assert {path.stat().st_uid for path in made} == {SOMEBODY.uid}
    assert {path.parent.stat().st_uid for path in made} == {0}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_is_given_away_and_not_what_it_points_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    give(link, SOMEBODY)
    assert (link.lstat().st_uid, target.stat().st_uid) == (SOMEBODY.uid, 0)


def test_what_is_not_trusted_is_kept_aside(place: Folders) -> None:
    make(place, ME)
    place.outbound.write_text("evidence")
    aside = set_aside(place.outbox)
    assert (aside / "outbound.db").read_text() == "evidence"
    assert not place.outbox.exists()
    make(place, ME)
    assert place.outbox.is_dir()


def test_only_the_latest_of_what_is_not_trusted_is_kept(place: Folders) -> None:
    asides: list[Path] = []
    for number in range(MOST_ASIDE + 2):
        make(place, ME)
        place.outbound.write_text(f"{number}")
        asides.append(set_aside(place.outbox))
    assert [path.exists() for path in asides] == [False] * 2 + [True] * MOST_ASIDE


def test_the_sockets_go_with_the_sandbox_and_the_files_stay(place: Folders) -> None:
    make(place, ME)
    place.line_socket.touch()
    remove(place)
    remove(place)
    assert (place.line.exists(), place.outbox.exists(), place.home.exists()) == (False, True, True)


def test_what_a_sandbox_has_nested_too_deep_to_follow_is_removed_too(place: Folders) -> None:
    make(place, ME)
    nest(place.outbox, depth=1500)
    deep = set_aside(place.outbox)
    for _ in range(MOST_ASIDE):
        make(place, ME)
        set_aside(place.outbox)
    assert not deep.exists()


def nest(folder: Path, *, depth: int) -> None:
    """Folders in one another, deeper than any path can name."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=at)
        below = os.open("deeper", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
