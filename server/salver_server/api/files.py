"""Files: take one in for a message that is about to be sent, give one out that came with a message."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from salver_server.api.rooms import Use
from salver_server.api.shapes import File
from salver_server.errors import Missing, Rejected
from salver_server.files import store
from salver_server.files.sniff import INLINE
from salver_server.ids import FileId

router = APIRouter(prefix="/files", tags=["files"])


@router.post("", status_code=201)
async def upload(rooms: Use, request: Request, name: str) -> File:
    """Take in the body as it is; when this answers, it is on disk and waits a day for its message."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal():
        raise Rejected("The header content-length is no number. Leave it out.")
    return File.of(await rooms.uploads.take(name, request.stream(), length=int(length)))


@router.get("/{id_}")
async def file(rooms: Use, id_: FileId, inline: bool = False) -> FileResponse:
    """The bytes of a file that came with a message; `inline` shows a picture, and nothing else."""
    found = rooms.database.glance(lambda conn: store.owner(conn, id_))
    if found is None:
        raise Missing(f"There is no file '{id_}'.")
    file, message, delivery = found
    where = rooms.places.intake / message if message else rooms.places.outgoing / str(delivery)
    if not (where / file.name).is_file():
        raise Missing(f"The file '{file.name}' is gone: somebody removed {where / file.name}.")
    shown = inline and file.type in INLINE
    return FileResponse(
        where / file.name,
        media_type=file.type,
        filename=file.name,
        content_disposition_type="inline" if shown else "attachment",
        headers={"x-content-type-options": "nosniff", "content-security-policy": "sandbox"},
    )
