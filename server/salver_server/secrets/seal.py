"""Sealing with AES-256-GCM under a master key; pure but for its randomness.

A key's version is a name derived from the key itself. Rows say which key they need and keys say who they
are, so that a wrong key is told from a broken row, and no counter has to be kept in step with the keychain.
"""

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import NewType

from salver_server.errors import Broken
from salver_server.ids import SecretName
from salver_server.kit.secret import Secret

KeyVersion = NewType("KeyVersion", str)

KEY_BYTES = 32
NONCE_BYTES = 12


class NoKeys(ValueError):
    """What was found where the keys should be is something else."""


@dataclass(frozen=True, slots=True, eq=False)
class MasterKey:
    version: KeyVersion
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """One key, or two while they are being changed; the last one seals, each opens what it sealed."""

    held: tuple[MasterKey, ...]

    @property
    def newest(self) -> MasterKey:
        return self.held[-1]

    @property
    def versions(self) -> set[KeyVersion]:
        return {key.version for key in self.held}

    @property
    def is_changing(self) -> bool:
        return len(self.held) > 1

    def with_successor(self) -> "Keys":
        """The newest key and a new one after it."""
        return Keys((self.newest, *new_keys().held))

    def newest_alone(self) -> "Keys":
        return Keys((self.newest,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    name: SecretName
    key_version: KeyVersion
    nonce: bytes
    ciphertext: bytes = field(repr=False)


def new_keys() -> Keys:
    """One key of 256 random bits."""
    return Keys((_key(os.urandom(KEY_BYTES)),))


def written(keys: Keys) -> Secret:
    """The keys as they are kept: 44 characters of base64 each, with a space between two."""
    return Secret(" ".join(base64.b64encode(key.material).decode() for key in keys.held))


def read(item: Secret) -> Keys:
    """The keys that were written so; raises `NoKeys` for anything else."""
    try:
        materials = [base64.b64decode(word, validate=True) for word in item.reveal().split()]
    except (binascii.Error, ValueError):
        raise NoKeys("it is no base64") from None
    if not 1 <= len(materials) <= 2 or {len(material) for material in materials} != {KEY_BYTES}:
        raise NoKeys("it is not one key, or two, of 256 bits")
    return Keys(tuple(map(_key, materials)))


def seal(keys: Keys, name: SecretName, secret: Secret) -> Sealed:
    """The secret under the newest key, bound to its name."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # not needed for a start

    key = keys.newest
    nonce = os.urandom(NONCE_BYTES)
    text = secret.reveal().encode()
    ciphertext = AESGCM(key.material).encrypt(nonce, text, _bound_to(name, key.version))
    return Sealed(name=name, key_version=key.version, nonce=nonce, ciphertext=ciphertext)


def unseal(keys: Keys, sealed: Sealed) -> Secret:
    """What was sealed; raises `Broken` for what was altered, or stands in another's place."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    associated = _bound_to(sealed.name, sealed.key_version)
    try:
        [material] = [key.material for key in keys.held if key.version == sealed.key_version]
        text = AESGCM(material).decrypt(sealed.nonce, sealed.ciphertext, associated)
    except (InvalidTag, ValueError):
        raise Broken(
            f"The stored secret '{sealed.name}' was damaged or altered and cannot be opened. Enter it anew."
        ) from None
    return Secret(text.decode())


def _key(material: bytes) -> MasterKey:
    digest = hmac.new(material, b"salver key version", hashlib.sha256).hexdigest()
    return MasterKey(KeyVersion(digest[:16]), material)


def _bound_to(name: SecretName, version: KeyVersion) -> bytes:
    return f"salver secret\0{name}\0{version}".encode()
