import asyncio
from pathlib import Path

from salver_server.gateway.exchange import Exchange


async def test_what_was_seen_off_while_its_end_still_waited_may_be_cut(quick_path: Path) -> None:
    ended = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(reader, writer)
        writer.write(bytes(10_000_000))  # more than any socket holds
        try:
            await exchange.finish()
            exchange.cut()
        except BaseException as exc:
            ended.set_exception(exc)
            raise
        ended.set_result(None)

    path = quick_path / "gateway"
    async with await asyncio.start_unix_server(serve, path):
        reader, writer = await asyncio.open_unix_connection(path)
        assert len(await reader.read()) == 10_000_000
        await ended
        writer.close()
