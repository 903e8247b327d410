import pytest

from salver_runner.tools import Result
from salver_runner.tools.send_message import LONGEST, TOOL
from tests.runner.tools.conftest import Runner


async def test_a_message_is_sent_as_it_is(runner: Runner) -> None:
    assert await TOOL.run({"text": " *soon*\n"}, runner.handed) == Result(text="Sent.")
    assert runner.sent == [" *soon*\n"]


@pytest.mark.parametrize("text", [None, 1, "", " \n", "x" * (LONGEST + 1)], ids=repr)
async def test_what_is_no_message_is_not_sent(text: object, runner: Runner) -> None:
    assert (await TOOL.run({"text": text}, runner.handed)).failed
    assert runner.sent == []
