"""Everything that comes from the environment, read once; where the data lies."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass as validated

from salver_server.errors import Rejected


@validated(frozen=True, slots=True, kw_only=True)
class Settings:
    """One field per variable `SALVER_<NAME>`; durations in seconds."""

    home: Path
    """Folder of all data."""
    runtime: str = "process"
    """Which runtime starts the runners."""
    most_sandboxes: int = Field(default=8, ge=1)
    """Sandboxes that may live at once; further sessions wait for their turn."""
    idle: float = Field(default=600, gt=0)
    """A sandbox without work is stopped after this long."""
    stall: float = Field(default=120, gt=0)
    """A turn that shows no progress for this long is asked, then cancelled, then killed."""
    sweep: float = Field(default=30, gt=0)
    """How often every live session is looked at although nothing rang."""
    doorbell: bool = True
    """Listen to the runners' doorbells."""
    watch: bool = True
    """Watch the sessions' folders with watchfiles."""
    budget: float | None = Field(default=None, gt=0, le=1_000_000_000)
    """Dollars a day that calls to models may cost, those of all agents together."""
    keep_free: int = Field(default=256 * 1024 * 1024, ge=0)
    """Bytes of disk that stay free: below it no sandbox is started."""
    largest_file: int = Field(default=25_000_000, ge=1)
    """Bytes of one file that comes with a message, in either direction."""
    failpoint: str = ""
    """For tests: `server:<name>` or `runner:<name>` stands still there; see kit/failpoint.py."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie below the data folder, and the sockets, which lie elsewhere."""

    home: Path
    sockets: Path
    """A short path, since a unix socket's address holds about 100 bytes."""

    @property
    def database(self) -> Path:
        return self.home / "salver.db"

    @property
    def prices(self) -> Path:
        return self.home / "prices.toml"

    @property
    def agents(self) -> Path:
        return self.home / "agents"

    @property
    def skills(self) -> Path:
        return self.home / "skills"

    @property
    def intake(self) -> Path:
        """A folder for each message with files, and one for each upload that waits for its message."""
        return self.home / "intake"

    @property
    def outgoing(self) -> Path:
        """A folder for each delivery with files."""
        return self.home / "outgoing"

    @property
    def sessions(self) -> Path:
        return self.home / "sessions"

    @property
    def homes(self) -> Path:
        return self.home / "homes"

    @property
    def packs(self) -> Path:
        return self.home / "packs"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    @property
    def api_socket(self) -> Path:
        return self.sockets / "api"

    @property
    def lines(self) -> Path:
        return self.sockets / "lines"


def read_settings() -> Settings:
    """Settings from the environment; raises `Rejected` naming the variable that is wrong."""
    found: dict[str, object] = {"home": platformdirs.user_data_path("salver")}
    for name in Settings.__dataclass_fields__:
        if value := os.environ.get(f"SALVER_{name.upper()}"):
            found[name] = value
    try:
        settings = Settings(**found)  # pyright: ignore[reportArgumentType] - pydantic converts and checks
    except ValidationError as exc:
        problem = exc.errors()[0]
        variable = f"SALVER_{str(problem['loc'][0]).upper()}"
        raise Rejected(
            f"{variable} is not usable: {problem['msg']}. Correct it or unset it."
        ) from exc
    return settings


def places(home: Path) -> Places:
    """The places of the data folder `home`."""
    home = home.expanduser().resolve()  # one folder has one address, however it is written
    return Places(home, _socket_folder(home))


def container() -> Path:
    """The folder that holds the package salver_runner and its locks: the checkout's, else the installed one."""
    package = Path(__file__).parent
    checkout = package.parent.parent / "container"
    return checkout if (checkout / "salver_runner").is_dir() else package / "_runner"


def _socket_folder(home: Path) -> Path:
    short = hashlib.sha256(bytes(home)).hexdigest()[:12]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and len(runtime) <= 40 and Path(runtime).is_dir():
        return Path(runtime) / f"salver-{short}"
    return Path("/tmp") / f"salver-{os.getuid()}-{short}"  # noqa: S108 - made 0700 and checked for its owner
