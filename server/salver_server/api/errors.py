"""Our errors as HTTP answers: the only place that knows status codes."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from salver_server.errors import (
    Broken,
    Conflict,
    Missing,
    NeedsUser,
    Rejected,
    SalverError,
    Transient,
)

STATUS: tuple[tuple[type[SalverError], int], ...] = (
    (Missing, 404),
    (Conflict, 409),
    (Rejected, 422),
    (NeedsUser, 424),
    (Transient, 503),
    (Broken, 500),
)


def install(app: FastAPI) -> None:
    app.add_exception_handler(SalverError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _ours(request: Request, exc: Exception) -> JSONResponse:  # noqa: ARG001 the framework's shape
    status = next((code for kind, code in STATUS if isinstance(exc, kind)), 500)
    return JSONResponse(
        {"error": {"kind": type(exc).__name__, "message": str(exc)}}, status_code=status
    )


async def _invalid(request: Request, exc: Exception) -> JSONResponse:  # noqa: ARG001 the framework's shape
    assert isinstance(exc, RequestValidationError)
    problem = exc.errors()[0]
    field = ".".join(str(part) for part in problem["loc"] if part != "body")
    message = f"The request's field '{field}' is not usable: {problem['msg']}."
    return JSONResponse({"error": {"kind": "Rejected", "message": message}}, status_code=422)
