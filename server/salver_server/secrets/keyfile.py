"""The key file: where the master key rests on a computer without a keychain, once somebody allowed it.

For its owner alone, written aside and put in place whole, so that a kill leaves the old file, the new
one, or none; never a torn one.
"""

import errno
import os
import stat
from pathlib import Path

from salver_server.kit.secret import Secret
from salver_server.secrets.keychain import KeychainError

NAME = "secrets.key"
LONGEST = 1024
"""Bytes; two keys take 89."""


class KeyFile:
    """A `Keychain` that is a file. Beyond the contract it raises OSError, a full disk among them."""

    def __init__(self, home: Path) -> None:
        self.path = home / NAME
        self._aside = home / f"{NAME}.new"

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def get(self) -> Secret | None:
        # O_NONBLOCK, since whatever lies there may be a pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags)
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise KeychainError("refused", f"{self.path} is a link") from None
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise KeychainError("refused", f"{self.path} is no file of yours")
            if found.st_mode & 0o077:
                raise KeychainError(
                    "refused",
                    f"{self.path} may be read by others: put it back to mode 0600 and, since they may have,"
                    " change what it protects",
                )
            self._aside.unlink(missing_ok=True)  # no copy of a key outlives the kill that left it
            return Secret(os.read(fd, LONGEST).decode("ascii", "replace"))
        finally:
            os.close(fd)

    def set(self, item: Secret, /) -> None:
        self._write_aside(item)
        self._aside.replace(self.path)
        self._sync_folder()

    def create(self, item: Secret, /) -> None:
        """Keep the first item; raises FileExistsError if there is one."""
        self._write_aside(item)
        try:
            os.link(self._aside, self.path, follow_symlinks=False)
        finally:
            self._aside.unlink()
        self._sync_folder()

    def delete(self) -> None:
        self._aside.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self._sync_folder()

    def _write_aside(self, item: Secret) -> None:
        self._aside.unlink(missing_ok=True)  # of a write that was cut off
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._aside, flags, 0o600)
        try:
            # So short a text is written whole, or the disk is full.
            os.write(fd, item.reveal().encode("ascii"))
            os.fsync(fd)
        except OSError:
            self._aside.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def _sync_folder(self) -> None:
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
