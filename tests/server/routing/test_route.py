from dataclasses import dataclass

import pytest

from salver_server.ids import AgentName, ChannelName, ChatId
from salver_server.messages import Inbound
from salver_server.routing import Mode, Place, Wiring, route
from tests.fakes.clock import NOON

ADA, BOB = AgentName("ada"), AgentName("bob")
FAMILY = ChatId("cht-family")


def said(thread: str | None) -> Inbound:
    return Inbound(
        channel=ChannelName("fake"),
        address="family",
        thread=thread,
        key="1",
        sender="ann",
        text="hello",
        sent_at=NOON,
    )


def wiring(agent: AgentName, mode: Mode) -> Wiring:
    return Wiring(agent=agent, mode=mode, engagement="every-message")


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    mode: Mode
    thread: str | None
    expected: Place


@pytest.mark.parametrize(
    "case",
    [
        Case(
            id="the-whole-chat-shares-one",
            mode="shared",
            thread="dinner",
            expected=Place(agent=ADA, chat=FAMILY, thread=None),
        ),
        Case(
            id="each-thread-has-its-own",
            mode="per-thread",
            thread="dinner",
            expected=Place(agent=ADA, chat=FAMILY, thread="dinner"),
        ),
        Case(
            id="what-is-outside-of-threads-has-its-own",
            mode="per-thread",
            thread=None,
            expected=Place(agent=ADA, chat=FAMILY, thread=None),
        ),
        Case(
            id="all-chats-of-the-agent-share-one",
            mode="agent-shared",
            thread="dinner",
            expected=Place(agent=ADA, chat=None, thread=None),
        ),
    ],
    ids=lambda case: case.id,
)
def test_the_mode_says_what_shares_a_session(case: Case) -> None:
    assert route(said(case.thread), FAMILY, [wiring(ADA, case.mode)]) == [case.expected]


def test_every_agent_of_a_chat_gets_the_message_in_its_own_way() -> None:
    wirings = [wiring(ADA, "shared"), wiring(BOB, "agent-shared")]
    assert route(said(None), FAMILY, wirings) == [
        Place(agent=ADA, chat=FAMILY, thread=None),
        Place(agent=BOB, chat=None, thread=None),
    ]


def test_a_chat_that_nobody_serves_leads_nowhere() -> None:
    assert route(said(None), FAMILY, []) == []
