"""What went wrong with a model, as a verdict: a trouble and a sentence for the person. Whether to wait,
to ask another model, and what may be remembered is decided from it and nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelTimeoutError,
)
from pydantic_ai.messages import ModelResponse

from salver_runner.launch import Choice
from salver_runner.providers.pydantic_ai import complaints
from salver_runner.providers.pydantic_ai.complaints import Complaint, Trouble

LONGEST_PAUSE = 30.0
"""Seconds; a vendor that asks for a longer pause is not waited for."""
SOON = 0.1
"""Seconds before a request is repeated whose answer broke off: the server has most likely restarted."""
LONGEST_WORDS = 300

TITLES = {
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "ollama": "Ollama",
    "google": "Google",
    "anthropic": "Anthropic",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    trouble: Trouble
    sentence: str
    """For the person: what happened and what to do now."""
    retry_after: float | None = None
    """Seconds before the same may work, where known; infinite where asking again makes no sense."""
    poison: bool = False
    """Whether the request itself is what was not taken, so that it would not be again."""


def pause(verdict: Verdict, ours: float) -> float | None:
    """Seconds before the next try, `ours` unless others are asked for; None for no next try."""
    match verdict.trouble:
        case "rate_limit" | "overload" | "network":
            wanted = ours if verdict.retry_after is None else verdict.retry_after
            return wanted if wanted <= LONGEST_PAUSE else None
        case _:
            return None


def passes_on(verdict: Verdict) -> bool:
    """Whether another model may well answer."""
    match verdict.trouble:
        case "key_refused" | "quota" | "rate_limit" | "overload" | "network" | "unknown_model":
            return True
        case "context_full" | "refused" | "rejected" | "gateway" | "unreadable":
            return False
        case _:
            assert_never(verdict.trouble)


def of_error(exc: Exception, choice: Choice) -> Verdict:
    match exc:
        case ModelTimeoutError(phase="read"):
            return Verdict(
                trouble="network",
                sentence="The model said nothing for very long, so the turn was ended. Send your message again.",
                retry_after=math.inf,
            )
        case ModelConnectionError(phase="connect"):
            return Verdict(
                trouble="network",
                sentence="Salver's gateway to the model was away for too long. Restart Salver, then send your message again.",
                retry_after=math.inf,
            )
        case ModelConnectionError():
            return Verdict(
                trouble="network",
                sentence=f"The connection to {title(choice)} broke off again and again. Send your message again in a few minutes.",
                retry_after=SOON,
            )
        case ModelAPIError():
            return _of_complaint(complaints.complaint(exc), choice)
        case _:
            return Verdict(trouble="unreadable", sentence=_unreadable(choice))


def of_response(response: ModelResponse, choice: Choice) -> Verdict | None:
    """None for an answer that is one."""
    details = response.provider_details or {}
    match response.finish_reason:
        case "content_filter":
            said = f" It said: {_short(str(words))}" if (words := details.get("refusal")) else ""
            return Verdict(
                trouble="refused",
                sentence=f"{title(choice)}'s filter stopped the answer. Ask in another way.{said}",
                poison=True,
            )
        case "error":
            return Verdict(trouble="unreadable", sentence=_unreadable(choice))
        case _:
            return None


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """What all models that were asked came to: the last one's verdict, and a sentence of each."""
    sentences = dict.fromkeys(verdict.sentence for verdict in verdicts)
    return replace(verdicts[-1], sentence="\n".join(sentences))


def introduction(reasons: Sequence[str], choice: Choice) -> str:
    return f"{', '.join(reasons)}; {choice.model} on {title(choice)} answers instead."


def reason(verdict: Verdict, choice: Choice) -> str:
    """Why a choice does not answer, in a few words."""
    name = title(choice)
    match verdict.trouble:
        case "key_refused":
            return f"{name} refused the key"
        case "quota":
            return f"the account at {name} has reached its limit"
        case "rate_limit":
            return f"{name} wants fewer requests for now"
        case "overload":
            return f"{name} has trouble of its own"
        case "network":
            return f"{name} cannot be reached"
        case "unknown_model":
            return f"{name} does not know the model {choice.model}"
        case _:
            return f"{name} does not answer"


def title(choice: Choice) -> str:
    return TITLES.get(choice.provider, choice.provider)


def _of_complaint(said: Complaint, choice: Choice) -> Verdict:
    trouble = complaints.trouble(said)
    if said.gateway:
        return Verdict(
            trouble=trouble,
            sentence=f"{said.words} Then send your message again.",
            retry_after=math.inf if said.gateway == "upstream_timeout" else said.wait,
            poison=said.gateway in ("bad_request", "request_too_large"),
        )
    return Verdict(
        trouble=trouble,
        sentence=_sentence(trouble, said, choice),
        retry_after=said.wait,
        poison=trouble in ("context_full", "refused", "rejected"),
    )


def _sentence(trouble: Trouble, said: Complaint, choice: Choice) -> str:
    name, words = title(choice), _short(said.words)
    match trouble:
        case "key_refused":
            return (
                f"{name} refused the key. Set a valid one with `salver provider set {choice.provider}`,"
                " then send your message again."
            )
        case "quota":
            return (
                f"The account at {name} has no credit left or has reached its limit. Raise it there,"
                " then send your message again."
            )
        case "rate_limit":
            wait = f"in {said.wait:.0f} s" if said.wait else "in a minute"
            return f"{name} wants fewer requests for now. Send your message again {wait}."
        case "overload":
            about = f" ({words.rstrip('.')})" if words else ""
            return (
                f"{name} has trouble of its own{about}. Send your message again in a few minutes."
            )
        case "network":
            return f"{name} cannot be reached. Send your message again in a few minutes."
        case "context_full":
            return (
                f"The conversation is too long for the model {choice.model!r}. Start a new one, or set a"
                " `model` with a larger context in AGENT.md."
            )
        case "refused":
            return f"{name} refused to answer this. Ask in another way.{_quoted(words)}"
        case "unknown_model":
            if choice.provider == "ollama":
                return (
                    f"Ollama has no model {choice.model!r}. Fetch it with `ollama pull {choice.model}`,"
                    " or set another `model` in AGENT.md."
                )
            return (
                f"{name} does not know the model {choice.model!r}. Set another `model` in AGENT.md."
            )
        case "rejected" | "gateway":
            return (
                f"{name} rejected the request, so nothing of this turn is remembered. Send your"
                f" message again in other words, or set another `model` in AGENT.md.{_quoted(words)}"
            )
        case "unreadable":
            return _unreadable(choice) + _quoted(words)
        case _:
            assert_never(trouble)


def _unreadable(choice: Choice) -> str:
    return f"The answer of {choice.model!r} on {title(choice)} could not be read. Send your message again."


def _quoted(words: str) -> str:
    return f" It said: {words}" if words else ""


def _short(words: str) -> str:
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…"
