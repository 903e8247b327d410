"""The key that seals every secret: how it stands, where it rests, and what secrets were used for."""

from fastapi import APIRouter
from pydantic import BaseModel

from salver_server.api.rooms import Use
from salver_server.api.shapes import KeychainStanding
from salver_server.ids import SecretName

router = APIRouter(prefix="/keychain", tags=["keychain"])


class SecretUse(BaseModel):
    secret: str
    at: str
    session: str | None
    """Whose work it was for; none for what the house itself does."""
    purpose: str


@router.get("")
async def standing(rooms: Use) -> KeychainStanding:
    """As far as it is known; asks no keychain."""
    return KeychainStanding.of(rooms.vault.standing())


@router.post("/unlock")
async def unlock(rooms: Use) -> KeychainStanding:
    """Ask for the key now, prompt and all."""
    found = KeychainStanding.of(await rooms.vault.unlock())
    await rooms.keeper.go_on()
    return found


@router.post("/allow-file")
async def allow_file(rooms: Use) -> KeychainStanding:
    """A person consents to a key file, should there be no keychain."""
    return KeychainStanding.of(await rooms.vault.allow_key_file())


@router.post("/move")
async def move(rooms: Use) -> KeychainStanding:
    """Move the key from its file to the keychain."""
    return KeychainStanding.of(await rooms.vault.move_to_keychain())


@router.post("/rotate")
async def rotate(rooms: Use) -> KeychainStanding:
    """Seal every secret with a new key."""
    await rooms.vault.rotate()
    return KeychainStanding.of(rooms.vault.standing())


@router.get("/uses")
async def uses(rooms: Use, secret: SecretName | None = None) -> list[SecretUse]:
    """What this secret, or any, was handed out for; the latest first."""
    return [
        SecretUse(secret=use.secret, at=use.at, session=use.session, purpose=use.purpose)
        for use in await rooms.vault.uses(secret)
    ]
