"""Which vendors the owner has an account with, and which one an agent's model calls go to.

An account is an address, perhaps a model, and perhaps a key, which lies in the vault and leaves it only for
the address that it was given for.
"""

from salver_server.accounts.book import Accounts, Kept
from salver_server.accounts.choice import Choice, Known, Model
from salver_server.accounts.gate import ModelGate
from salver_server.accounts.store import EVERYONE, Account
from salver_server.accounts.trial import Trial, Trials
from salver_server.accounts.wish import Wishes

__all__ = [
    "EVERYONE",
    "Account",
    "Accounts",
    "Choice",
    "Kept",
    "Known",
    "Model",
    "ModelGate",
    "Trial",
    "Trials",
    "Wishes",
]
