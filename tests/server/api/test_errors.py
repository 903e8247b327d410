from dataclasses import dataclass

import httpx2
import pytest
from fastapi import FastAPI

from salver_server.api import errors
from salver_server.errors import (
    Broken,
    Conflict,
    Missing,
    NeedsUser,
    Rejected,
    SalverError,
    Transient,
)


class Particular(NeedsUser):
    """One with a name of its own."""


@dataclass(frozen=True, kw_only=True)
class Case:
    error: SalverError
    status: int


@pytest.mark.parametrize(
    "case",
    [
        Case(error=Missing("It is not there."), status=404),
        Case(error=Conflict("It is closed."), status=409),
        Case(error=Rejected("It is empty."), status=422),
        Case(error=NeedsUser("Free some disk space."), status=424),
        Case(error=Particular("Stop the other one."), status=424),
        Case(error=Transient("Try again.", retry_after=7), status=503),
        Case(error=Broken("A promise failed."), status=500),
        Case(error=SalverError("Something else."), status=500),
    ],
    ids=lambda case: type(case.error).__name__,
)
async def test_an_error_is_answered_by_what_to_do_next_and_its_own_sentence(case: Case) -> None:
    app = FastAPI()
    errors.install(app)

    @app.get("/")
    async def fail() -> None:
        raise case.error

    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://salver") as client:
        answer = await client.get("/")
    assert answer.status_code == case.status
    assert answer.json() == {
        "error": {"kind": type(case.error).__name__, "message": str(case.error)}
    }
