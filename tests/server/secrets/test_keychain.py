"""What a backend of the system raises becomes what to do next; see contract/ for the real thing."""

import pytest
from keyring.backends import SecretService
from keyring.errors import InitError, KeyringError, KeyringLocked, NoKeyringError, PasswordSetError

from salver_server.ids import InstallId
from salver_server.kit.secret import Secret
from salver_server.secrets import KeychainError, SystemKeychain
from salver_server.secrets.keychain import Why


class Backend:
    viable = True
    priority = 5
    problem: Exception = KeyringError()

    def get_password(self, *_: str) -> str:
        raise self.problem

    def set_password(self, *_: str) -> None:
        raise self.problem


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (KeyringLocked("Failed to unlock the collection!"), "locked"),
        (InitError("Prompt dismissed"), "locked"),
        (NoKeyringError("none"), "absent"),
        (PasswordSetError("no"), "refused"),
        (KeyringError("no"), "refused"),
        (OSError(1783, "The stub received bad data"), "refused"),
        (RuntimeError("whatever a bus may say"), "refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_whatever_a_backend_raises_is_one_of_three(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, why: Why
) -> None:
    # Of the backends only this one is there, and it does nothing else.
    monkeypatch.setattr(Backend, "problem", problem)
    monkeypatch.setattr(SecretService, "Keyring", Backend)
    system = SystemKeychain(InstallId("ins-1"))
    for call in (system.get, lambda: system.set(Secret("item")), system.delete):
        with pytest.raises(KeychainError) as failed:
            call()
        assert failed.value.why == why
        assert str(problem) in str(failed.value)
