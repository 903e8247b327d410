"""The ASGI application: which requests are heard at all, then the resources."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from salver_server.api import (
    agents,
    errors,
    files,
    house,
    keychain,
    messages,
    providers,
    sessions,
    skills,
    usage,
)
from salver_server.api.rooms import Rooms


def make_app(rooms: Rooms) -> ASGIApp:
    """The whole API, behind the rule which door may ask for what."""
    app = FastAPI(title="Salver", version=rooms.version, docs_url=None, redoc_url=None)
    app.state.rooms = rooms
    errors.install(app)
    for room in (house, agents, skills, sessions, messages, files, providers, keychain, usage):
        app.include_router(room.router)
    return Doors(app)


class Doors:
    """TCP hears `/health` only; the unix socket, which knows its peers by their credentials, everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._by_tcp(scope) and scope["path"] != "/health":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)

    def _by_tcp(self, scope: Scope) -> bool:
        # uvicorn gives (path, None) for a unix socket; anything else counts as TCP.
        server = scope.get("server")
        return not (server is not None and server[1] is None)
