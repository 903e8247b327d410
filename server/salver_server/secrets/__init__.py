"""Credentials at rest: sealed in salver.db by one master key in the system's keychain.

Values leave this room only as `Secret` (kit), and each time is on record.
"""

from salver_server.secrets.keychain import Keychain, KeychainError, SystemKeychain
from salver_server.secrets.standing import KeychainState, Standing, VaultShut
from salver_server.secrets.store import SecretRow, Use
from salver_server.secrets.vault import Vault, open_vault

__all__ = [
    "Keychain",
    "KeychainError",
    "KeychainState",
    "SecretRow",
    "Standing",
    "SystemKeychain",
    "Use",
    "Vault",
    "VaultShut",
    "open_vault",
]
