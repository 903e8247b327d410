import pkgutil

from salver_server import channels
from salver_server.channels import discover


def test_every_file_of_the_room_exports_a_channel() -> None:
    files = {module.name for module in pkgutil.iter_modules(channels.__path__)}
    assert {str(name) for name in discover()} == files


def test_the_channels_of_this_build() -> None:
    assert sorted(discover()) == ["local"]
