from salver_server.ids import AgentName, ChannelName
from salver_server.routing import Place, book, store
from tests.server.conftest import SALVER, Desk


async def test_an_agent_s_own_chat_has_a_session_for_each_thread(desk: Desk) -> None:
    chat = await desk.agent("ada")
    found = await desk.database.read(
        lambda conn: book.routed(conn, desk.message(address="ada", thread="dinner"))
    )
    assert found == (chat, [Place(agent=AgentName("ada"), chat=chat, thread="dinner")])


async def test_wiring_an_agent_again_changes_nothing(desk: Desk) -> None:
    assert await desk.agent("ada") == await desk.agent("ada")


async def test_a_chat_that_nobody_knows_leads_nowhere(desk: Desk) -> None:
    message = desk.message(channel="fake", address="strangers")
    assert await desk.database.read(lambda conn: book.routed(conn, message)) is None


async def test_the_same_address_on_another_channel_is_another_chat(desk: Desk) -> None:
    one = await desk.chat("family", SALVER, channel="fake")
    other = await desk.chat("family", SALVER, channel="other")
    assert one != other
    message = desk.message(channel="other", address="family")
    found = await desk.database.read(lambda conn: book.routed(conn, message))
    assert found is not None
    assert found[0] == other


async def test_how_an_agent_serves_a_chat_can_be_changed(desk: Desk) -> None:
    chat = await desk.chat("family", SALVER, mode="shared")
    await desk.database.write(
        lambda conn: store.wire(conn, chat, SALVER, mode="agent-shared", engagement="every-message")
    )
    found = await desk.database.read(lambda conn: store.wirings(conn, chat))
    assert [(wiring.agent, wiring.mode) for wiring in found] == [(SALVER, "agent-shared")]


async def test_a_chat_keeps_what_it_was_made_with(desk: Desk) -> None:
    id_ = await desk.chat("family", SALVER)
    found = await desk.database.read(lambda conn: store.chat(conn, ChannelName("fake"), "family"))
    assert found == store.Chat(
        id=id_, channel=ChannelName("fake"), address="family", title="family", is_group=True
    )


async def test_only_an_agent_s_own_chat_is_on_this_computer(desk: Desk) -> None:
    here, there = await desk.agent("ada"), await desk.chat("family", SALVER)
    found = [
        await desk.database.read(lambda conn, chat=chat: book.is_local(conn, chat))
        for chat in (here, there, None)
    ]
    assert found == [True, False, False]
