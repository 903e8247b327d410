"""One real call, the smallest there is, by the very way that a session's calls go; a refusal is explained."""

import asyncio
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from pydantic import BaseModel, TypeAdapter, ValidationError

from salver_server.accounts.book import Accounts
from salver_server.accounts.choice import Model
from salver_server.accounts.gate import upstreams
from salver_server.agents import Definition
from salver_server.calls import Wire
from salver_server.gateway import Gateway, token_hash
from salver_server.ids import AgentName, SessionId

if TYPE_CHECKING:
    import httpx2

NOBODY = SessionId("")
"""In place of a session: the house itself calls."""
PATIENCE = 60.0
"""Seconds for an answer of a few words; a model that has to be loaded first takes its time."""
MOST_SHOWN = 12
"""Models that are named where the one that was wanted is not there."""
LONGEST = 300
"""Characters of a vendor's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of it."""

    works: bool
    model: str
    says: str
    """What is the case and, if it does not work, what to do now."""
    models: tuple[str, ...] = ()
    """Some of those that the provider offers, where the one that was wanted is not among them."""


class Trials:
    """One at a time, by a door that is made in `folder`."""

    def __init__(self, *, gateway: Gateway, accounts: Accounts, folder: Path) -> None:
        self._gateway = gateway
        self._accounts = accounts
        self._path = folder / "trial"
        self._one = asyncio.Lock()

    async def __call__(self, provider: str, *, agent: AgentName, model: str) -> Trial:
        """Call the provider for this agent, or for everyone.

        Raises `Missing`, and `NeedsUser` where the account lacks something.
        """
        spec = self._accounts.spec(provider)
        if spec.wire is None:
            return Trial(works=True, model="", says=f"{spec.title} calls nobody, and always works.")
        wanted = Definition(provider=provider, model=model)
        (chosen,) = self._accounts.choose(agent, wanted).models
        token = secrets.token_hex(32)
        async with self._one:
            await self._gateway.open(
                NOBODY,
                self._path,
                agent=agent,
                token_hash=token_hash(token),
                upstreams=upstreams(self._accounts, (chosen,), purpose="a test", session=None),
            )
            try:
                return await _tried(self._path, token, spec.title, chosen)
            finally:
                await self._gateway.close(NOBODY)


async def _tried(path: Path, token: str, title: str, model: Model) -> Trial:
    import httpx2  # 0.1 s that no start has to pay

    transport = httpx2.AsyncHTTPTransport(
        uds=str(path), verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    async with httpx2.AsyncClient(
        transport=transport,
        base_url=f"http://gateway/{model.account.provider}",
        headers={"authorization": f"Bearer {token}", "anthropic-version": "2023-06-01"},
        timeout=PATIENCE,
        trust_env=False,
    ) as client:
        tail, body = smallest(model.wire, model.name)
        try:
            answer = await client.post(tail, json=body)
            if answer.status_code == 400 and "max_completion_tokens" in answer.text:
                body["max_completion_tokens"] = body.pop("max_tokens")
                answer = await client.post(tail, json=body)
        except httpx2.TimeoutException:
            says = f"{title} did not answer within {PATIENCE:.0f} s. Try again in a while."
            return Trial(works=False, model=model.name, says=says)
        except httpx2.TransportError:
            says = f"{title} broke off in the middle of its answer. Try again in a while."
            return Trial(works=False, model=model.name, says=says)
        if answer.is_success:
            return _streamed(answer.text, title, model.name)
        problem = _problem(answer.content)
        if answer.headers.get("x-salver-code"):
            return Trial(works=False, model=model.name, says=problem)
        offered: tuple[str, ...] = ()
        if answer.status_code in (400, 404) and model.wire in ("chat", "responses"):
            offered = await _offered(client)
        missing = answer.status_code == 404 or (bool(offered) and model.name not in offered)
        return Trial(
            works=False,
            model=model.name,
            says=explained(title, model.name, answer.status_code, problem, missing=missing),
            models=() if model.name in offered else offered[:MOST_SHOWN],
        )


def smallest(wire: Wire, model: str) -> tuple[str, dict[str, Any]]:
    """Path and body of the smallest call there is."""
    say = "Say: ok"
    match wire:
        case "chat":
            messages = [{"role": "user", "content": say}]
            body = {"model": model, "messages": messages, "max_tokens": 16, "stream": True}
            return "/chat/completions", body
        case "responses":
            body = {"model": model, "input": say, "max_output_tokens": 16, "stream": True}
            return "/responses", body
        case "google":
            contents = [{"role": "user", "parts": [{"text": say}]}]
            body = {"contents": contents, "generationConfig": {"maxOutputTokens": 16}}
            return f"/v1beta/models/{model}:streamGenerateContent?alt=sse", body
        case "anthropic":
            messages = [{"role": "user", "content": say}]
            body = {"model": model, "messages": messages, "max_tokens": 16, "stream": True}
            return "/v1/messages", body
        case _:
            assert_never(wire)


def explained(title: str, model: str, status: int, problem: str, *, missing: bool) -> str:
    """A vendor's refusal in plain words, and its own behind them."""
    said = f" It says: {problem}" if problem else ""
    if missing:
        return f"{title} has no model '{model}' for you. Name another one with --model.{said}"
    match status:
        case 402:
            return f"{title} wants to be paid first: there is no credit left on the account.{said}"
        case 429:
            return f"{title} takes no more calls for now: too many, or the quota is used up.{said}"
        case 529:
            return f"{title} is overloaded. Try again in a while.{said}"
        case _ if status >= 500:
            return f"{title} has trouble of its own (status {status}). Try again in a while.{said}"
        case _:
            return f"{title} refused the call (status {status}).{said}"


async def _offered(client: "httpx2.AsyncClient") -> tuple[str, ...]:
    """The models that the provider names; none where it does not say."""
    try:
        answer = await client.get("/models")
        found = Offer.model_validate_json(answer.content)
    except ValidationError:
        return ()
    return tuple(model.id[:100] for model in found.data)


def _streamed(text: str, title: str, model: str) -> Trial:
    """What an answer holds that began well: a model's words, a complaint, or something else altogether."""
    events = [line[5:] for line in text.splitlines() if line.startswith("data:")]
    if not any(event.lstrip().startswith("{") for event in events):
        says = f"What answers there is no {title}. Check the address: most end in /v1."
        return Trial(works=False, model=model, says=says)
    problem = next(filter(None, (_problem(event.encode()) for event in events)), "")
    if problem:
        says = f"{title} broke off in the middle of its answer. It says: {problem}"
        return Trial(works=False, model=model, says=says)
    return Trial(works=True, model=model, says=f"{title} answers with {model}.")


class _Named(BaseModel):
    id: str


class Offer(BaseModel):
    """What GET /models answers, as far as it matters."""

    data: list[_Named]


class _Said(BaseModel):
    message: str


class Refusal(BaseModel):
    """An error, in the shape that all vendors have come to share."""

    error: _Said | str


class Failed(BaseModel):
    """The same where an answer that began well fails, as OpenAI's responses do it."""

    response: Refusal


COMPLAINT: TypeAdapter[Refusal | Failed] = TypeAdapter(Refusal | Failed)


def _problem(content: bytes) -> str:
    """The vendor's own words; empty if there are none."""
    try:
        # Google wraps it into a list.
        found = COMPLAINT.validate_json(content.strip().removeprefix(b"[").removesuffix(b"]"))
    except ValidationError:
        return ""
    error = (found.response if isinstance(found, Failed) else found).error
    return (error if isinstance(error, str) else error.message)[:LONGEST]
