"""Run as a program inside a session bus of its own: what the system's keychain does there, as JSON."""

import json
import sys
from typing import Any

from salver_server.ids import InstallId
from salver_server.kit.secret import Secret
from salver_server.secrets import Keychain, KeychainError, SystemKeychain


def called(keychain: Keychain, word: str) -> Any:
    """The answer to one call: `get`, `set=ITEM` or `delete`."""
    name, _, item = word.partition("=")
    try:
        match name:
            case "get":
                found = keychain.get()
                return None if found is None else found.reveal()
            case "set":
                return keychain.set(Secret(item))
            case _:
                return keychain.delete()
    except KeychainError as exc:
        return {"why": exc.why, "reason": str(exc)}


def main() -> None:
    """Each word is a call; one with `other:` before it is another data folder's."""
    said: list[Any] = []
    for word in sys.argv[1:]:
        install = InstallId("ins-2" if word.startswith("other:") else "ins-1")
        said.append(called(SystemKeychain(install), word.removeprefix("other:")))
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
