"""The local HTTP API: translates, never decides. Complete over the unix socket, `/health` alone over TCP."""

from salver_server.api.app import make_app
from salver_server.api.rooms import Rooms

__all__ = ["Rooms", "make_app"]
