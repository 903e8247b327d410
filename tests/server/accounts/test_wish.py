import pytest

from salver_server.accounts import Wishes
from salver_server.agents import parse
from salver_server.errors import Rejected
from tests.server.accounts.conftest import ADA, Desk, key

DEMO = parse("---\nprovider: demo\n---\nBe kind.")


async def test_who_calls_no_model_has_none_to_choose(desk: Desk) -> None:
    wishes = Wishes(desk.accounts)
    assert wishes.said(ADA, DEMO) == "demo"
    with pytest.raises(Rejected, match="'demo' calls no model"):
        wishes.check(ADA, DEMO, "gpt-9")


async def test_a_name_that_is_too_long_is_refused(desk: Desk) -> None:
    with pytest.raises(Rejected, match="at most 200 characters"):
        Wishes(desk.accounts).check(ADA, DEMO, "x" * 201)


async def test_who_lacks_an_account_is_told_so(desk: Desk) -> None:
    openai = parse("---\nprovider: openai\nmodel: gpt-9\n---\nBe kind.")
    wishes = Wishes(desk.accounts)
    assert wishes.said(ADA, openai).startswith("none yet (OpenAI")
    with pytest.raises(Rejected, match="OpenAI"):
        wishes.check(ADA, openai, "gpt-8")


async def test_a_name_alone_is_of_the_provider_in_use(desk: Desk) -> None:
    await desk.accounts.put("openai", key=key())
    openai = parse("---\nprovider: openai\n---\nBe kind.")
    wishes = Wishes(desk.accounts)
    assert wishes.check(ADA, openai, "gpt-8") == "openai/gpt-8"
    assert wishes.check(ADA, openai, "org/gpt-8") == "openai/org/gpt-8"


async def test_another_provider_can_be_chosen_by_its_name(desk: Desk) -> None:
    await desk.accounts.put("openrouter", key=key())
    wishes = Wishes(desk.accounts)
    assert wishes.check(ADA, DEMO, "openrouter/meta/tiny") == "openrouter/meta/tiny"
    with pytest.raises(Rejected, match="OpenAI is not set up yet"):
        wishes.check(ADA, DEMO, "openai/gpt-8")
