"""How the master key stands, and what a person can do about it."""

from dataclasses import dataclass
from typing import Literal, assert_never

from salver_server.errors import NeedsUser

KeychainState = Literal[
    "unasked", "ready", "file", "waiting", "locked", "absent", "refused", "missing"
]
"""unasked: nobody needed it yet. file: it rests in the key file. waiting: a prompt is on the screen.
missing: secrets exist, and what sealed them is not where the key should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    state: KeychainState
    reason: str = ""
    """What the keychain said, if it said anything."""

    @property
    def advice(self) -> str:
        """What is the case and what to do now, in a sentence or two."""
        return advice(self.state, self.reason)


class VaultShut(NeedsUser):
    """The master key cannot be had, so secrets can neither be opened nor kept."""

    def __init__(self, state: KeychainState, reason: str = "") -> None:
        super().__init__(advice(state, reason))
        self.standing = Standing(state=state, reason=reason)


def advice(state: KeychainState, reason: str = "") -> str:
    match state:
        case "unasked":
            return (
                "Your keychain has not been asked yet; the first secret that is used will ask it."
            )
        case "ready":
            return "Your secrets are sealed by a key that rests in your keychain."
        case "file":
            return (
                "Your secrets are protected only by file permissions: their key lies in secrets.key, beside them."
                " Move it to your keychain once this computer has one."
            )
        case "waiting":
            return (
                "Your keychain is waiting for you: its window is on your screen, perhaps behind another."
                " Answer it, then try again."
            )
        case "locked":
            return (
                "Your keychain is locked. Unlock it, for example by logging in to your desktop, then try again."
                " A key file can be allowed instead as long as no secret is kept."
            )
        case "absent":
            return (
                "Salver finds no keychain on this computer. Start one (GNOME Keyring, KeePassXC or KWallet) and try"
                " again. A key file can be allowed instead as long as no secret is kept."
            )
        case "refused":
            return f"The key that seals your secrets could not be had: {reason}. Put that right, then try again."
        case "missing":
            return (
                f"Your secrets cannot be opened: {reason or 'the key that sealed them is not here'}. Bring back the"
                " keychain, or the file secrets.key, that they were made with; if it is lost, remove the secrets and"
                " enter them anew. Salver makes no second key while they exist."
            )
        case _:
            assert_never(state)
