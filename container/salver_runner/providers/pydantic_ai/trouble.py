"""What went wrong with a model: whether to try again, what may be remembered, and what to tell the person."""

from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from pydantic_ai.messages import ModelResponse

LONGEST_PAUSE = 30.0
"""Seconds; a provider that asks for a longer pause is not waited for."""
GATEWAYS_OWN = (
    "key_refused",
    "session_unknown",
    "upstream_redirects",
    "upstream_timeout",
    "upstream_unreachable",
)
"""Codes of errors whose message is the gateway's and made for people."""


def pause(exc: ModelAPIError, ours: float) -> float | None:
    """Seconds before the next try, `ours` unless the provider asks for others; None for no next try."""
    if exc.provider_error_code == "upstream_timeout":
        return None
    if exc.retry_after is None:
        return ours
    return exc.retry_after if exc.retry_after <= LONGEST_PAUSE else None


def is_poison(exc: Exception) -> bool:
    """Whether the request itself was rejected, so that it would be again."""
    if isinstance(exc, ModelAuthenticationError | ModelNotFoundError):
        return False
    if isinstance(exc, ModelHTTPError) and exc.status_code == 413:
        return True
    return isinstance(exc, ModelRequestRejectedError)


def sentence(exc: Exception, model: str) -> str:
    """What happened and what to do now, for the person."""
    if isinstance(exc, ModelAPIError) and exc.provider_error_code in GATEWAYS_OWN:
        return f"{_detail(exc)} Then send your message again."
    match exc:
        case ModelAuthenticationError():
            return "The model provider refused the key. Set a valid OPENAI_API_KEY, then send your message again."
        case ModelNotFoundError():
            return (
                f"The model provider does not know the model {model!r}. Set another `model` in AGENT.md,"
                " or correct OPENAI_BASE_URL."
            )
        case ModelContextWindowExceededError() | ModelHTTPError(status_code=413):
            return (
                f"The conversation is too long for the model {model!r}. Start a new one, or set a `model`"
                " with a larger context in AGENT.md."
            )
        case ModelQuotaExceededError():
            return (
                "The account at the model provider has no credit left or has reached its limit. Raise it"
                " there, then send your message again."
            )
        case ModelRateLimitError():
            wait = f"in {exc.retry_after:.0f} s" if exc.retry_after else "in a minute"
            return (
                f"The model provider wants fewer requests for now. Send your message again {wait}."
            )
        case ModelUnavailableError() | ModelServerError():
            return f"The model provider has trouble of its own ({_detail(exc)}). Send your message again in a few minutes."
        case ModelTimeoutError():
            return "The model said nothing for very long, so the turn was ended. Send your message again."
        case ModelConnectionError(phase="connect"):
            return "Salver's gateway to the model was away for too long. Restart Salver, then send your message again."
        case ModelConnectionError():
            return "The connection to the model broke off again and again. Send your message again in a few minutes."
        case ModelRequestRejectedError():
            return f"The model provider rejected the request: {_detail(exc)} Nothing of this turn is remembered."
        case _:
            return f"The model provider's answer could not be read: {_detail(exc)}"


def _detail(exc: Exception) -> str:
    """The provider's own words, or the library's, in short."""
    match exc:
        case ModelAPIError(body={"message": str(words)}) if words:
            text = words
        case _:
            text = str(exc)
    return text if len(text) <= 300 else f"{text[:300]}…"


def refusal(response: ModelResponse) -> str:
    words = (response.provider_details or {}).get("refusal")
    said = f" It said: {words}" if words else ""
    return f"The model provider's filter stopped the answer. Ask in another way.{said}"
