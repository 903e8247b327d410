"""Providers of models, and the owner's accounts with them. A key goes in and never comes out."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, SecretStr

from salver_server.accounts import EVERYONE, Account
from salver_server.api.rooms import Rooms, Use
from salver_server.calls import Wire
from salver_server.ids import AgentName
from salver_server.kit.secret import Secret

router = APIRouter(prefix="/providers", tags=["providers"])


class AccountView(BaseModel):
    agent: str
    """Empty: for every agent that has none of its own."""
    base_url: str
    model: str
    """Empty: the provider's suggestion."""
    plain_http: bool
    has_key: bool
    changed_at: str

    @staticmethod
    def of(account: Account) -> "AccountView":
        return AccountView(
            agent=account.agent,
            base_url=account.base_url,
            model=account.model,
            plain_http=account.plain_http,
            has_key=account.keyed,
            changed_at=account.changed_at,
        )


class Provider(BaseModel):
    name: str
    title: str
    wire: Wire | None
    """The format that it speaks; none for one that calls nobody."""
    base_url: str
    key: Literal["yes", "may", "no"]
    """Whether it wants one."""
    suggested: str
    keys_at: str
    """Where its keys are made."""
    default: bool
    """Agents that name no provider go there."""
    accounts: list[AccountView]


class NewAccount(BaseModel):
    """What is not given stays as it is, or is the provider's."""

    agent: AgentName = EVERYONE
    base_url: str | None = None
    model: str | None = None
    plain_http: bool | None = None
    key: SecretStr | None = None
    without_key: bool = False
    """Forget the key."""
    default: bool = False


class KeptAccount(AccountView):
    key_dropped: bool
    """The address is another one now, and its key was for the old one."""


class Call(BaseModel):
    agent: AgentName = EVERYONE
    model: str = ""


class Trial(BaseModel):
    works: bool
    model: str
    says: str
    models: list[str]
    """Some that the provider offers, where the one that was wanted is not among them."""


@router.get("")
async def providers(rooms: Use) -> list[Provider]:
    default = rooms.accounts.default()
    return [
        Provider(
            name=spec.name,
            title=spec.title,
            wire=spec.wire,
            base_url=spec.base_url,
            key=spec.key,
            suggested=spec.suggested,
            keys_at=spec.keys_at,
            default=spec.name == default,
            accounts=[
                AccountView.of(account)
                for account in rooms.accounts.all()
                if account.provider == spec.name
            ],
        )
        for spec in rooms.accounts.specs.values()
    ]


@router.put("/{name}")
async def put(rooms: Use, name: str, body: NewAccount) -> KeptAccount:
    """Set an account up, or change it."""
    _known(rooms, body.agent)
    kept = await rooms.accounts.put(
        name,
        body.agent,
        base_url=body.base_url,
        model=body.model,
        plain_http=body.plain_http,
        key=Secret(body.key.get_secret_value()) if body.key is not None else None,
        without_key=body.without_key,
        preferred=body.default,
    )
    await rooms.keeper.go_on()
    return KeptAccount(**AccountView.of(kept.account).model_dump(), key_dropped=kept.key_dropped)


@router.delete("/{name}")
async def remove(rooms: Use, name: str, agent: AgentName = EVERYONE) -> None:
    """Forget an account, its key included."""
    await rooms.accounts.remove(name, agent)


@router.post("/{name}/test")
async def test(rooms: Use, name: str, body: Call) -> Trial:
    """Make one real call, the smallest there is."""
    _known(rooms, body.agent)
    trial = await rooms.trials(name, agent=body.agent, model=body.model)
    return Trial(works=trial.works, model=trial.model, says=trial.says, models=list(trial.models))


def _known(rooms: Rooms, agent: AgentName) -> None:
    if agent != EVERYONE:
        rooms.agents.require(agent)
