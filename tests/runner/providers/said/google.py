"""Google, which names the limit that was reached, and blocks with a 200."""

from tests.runner.providers.said import Json, broken, error


def google(code: int, state: str, message: str, *details: Json) -> Json:
    error: Json = {"code": code, "message": message, "status": state}
    return {"error": {**error, "details": list(details)} if details else error}


QUOTA = "You exceeded your current quota, please check your plan and billing details."


def quota_failure(*names: str) -> Json:
    violations = [
        {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": name,
            "quotaDimensions": {"location": "global", "model": "m-1"},
        }
        for name in names
    ]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}
KEY_INVALID = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
    "metadata": {"service": "generativelanguage.googleapis.com"},
}


GOOGLE = [
    error(
        "key",
        "google",
        "google",
        400,
        google(
            400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", KEY_INVALID
        ),
        "key_refused",
        "Google refused the key. Set a valid one with `salver provider set google`",
    ),
    error(
        "denied",
        "google",
        "google",
        403,
        google(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers."),
        "key_refused",
        "Google refused the key",
    ),
    error(
        "a-minute",
        "google",
        "google",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            QUOTA,
            quota_failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
            RETRY,
        ),
        "rate_limit",
        "Google wants fewer requests for now. Send your message again in 17 s",
    ),
    error(
        "a-day",
        "google",
        "google",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            QUOTA,
            quota_failure(
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            ),
            RETRY,
        ),
        "quota",
        "account at Google has no credit left or has reached its limit",
    ),
    error(
        "exhausted",
        "google",
        "google",
        429,
        google(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        "rate_limit",
        "in a minute",
    ),
    error(
        "billing",
        "google",
        "google",
        400,
        google(
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use without a billing account. Please enable billing on your project in Google AI Studio.",
        ),
        "quota",
        "no credit left",
    ),
    error(
        "context",
        "google",
        "google",
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        ),
        "context_full",
        "conversation is too long",
    ),
    error(
        "invalid",
        "google",
        "google",
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "Please ensure that function call turn comes immediately after a user turn.",
        ),
        "rejected",
        "It said: Please ensure",
    ),
    error(
        "overload",
        "google",
        "google",
        503,
        google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        "overload",
        "Google has trouble of its own (The model is overloaded. Please try again later)",
    ),
    error(
        "internal",
        "google",
        "google",
        500,
        google(500, "INTERNAL", "An internal error has occurred."),
        "overload",
        "Google has trouble",
    ),
    error(
        "in-a-list",
        "google",
        "google",
        503,
        [google(503, "UNAVAILABLE", "The model is overloaded.")],
        "overload",
        "Google has trouble",
    ),
    error(
        "model",
        "google",
        "google",
        404,
        google(404, "NOT_FOUND", "models/m-1 is not found for API version v1beta."),
        "unknown_model",
        "Google does not know the model",
    ),
    broken(
        "mid-stream",
        "google",
        "google",
        [google(503, "UNAVAILABLE", "The service is currently unavailable.")],
        "overload",
        "The service is currently unavailable",
    ),
    broken(
        "prompt-blocked",
        "google",
        "google",
        [
            {
                "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
                "modelVersion": "m-1",
            }
        ],
        "refused",
        "Google's filter stopped the answer",
    ),
    broken(
        "safety",
        "google",
        "google",
        [{"candidates": [{"finishReason": "SAFETY", "index": 0, "safetyRatings": []}]}],
        "refused",
        "Google's filter",
    ),
    broken(
        "recitation",
        "google",
        "google",
        [
            {
                "candidates": [
                    {
                        "content": {"parts": [{"text": "It was"}], "role": "model"},
                        "finishReason": "RECITATION",
                        "index": 0,
                    }
                ]
            }
        ],
        "refused",
        "Google's filter",
    ),
    broken(
        "malformed",
        "google",
        "google",
        [{"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL", "index": 0}]}],
        "unreadable",
        "answer of 'm-1' on Google could not be read",
    ),
    broken(
        "cut",
        "google",
        "google",
        [{"candidates": [{"content": {"parts": [{"text": "It"}], "role": "model"}, "index": 0}]}],
        "network",
        "connection to Google broke off",
    ),
    broken("no-json", "google", "google", [], "network", "broke off"),
]
