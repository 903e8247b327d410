"""Opens every room in order, and closes them in the opposite one: the only file that knows them all."""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Generator, Mapping
from compileall import compile_dir
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from salver_server import channels, providers, runtimes
from salver_server.accounts import Accounts, ModelGate, Trials, Wishes
from salver_server.agents import AgentBook, Budget, SkillBook
from salver_server.api import Rooms, make_app
from salver_server.channels import ChannelSpec
from salver_server.clock import Clock, SystemClock, stamp
from salver_server.delivery import Courier
from salver_server.errors import NeedsUser, Rejected
from salver_server.files import Uploads
from salver_server.gateway import open_gateway
from salver_server.gateway.web import Reach
from salver_server.ids import AgentName, ChannelName, InstallId, SessionId
from salver_server.intake import Intake, Queue
from salver_server.kit import failpoint
from salver_server.kit.background import background, forever
from salver_server.kit.hub import Hub
from salver_server.kit.lock import Held, Lock, lock
from salver_server.kit.reserve import Reserve
from salver_server.kit.unix_http import Listeners, bind, serve_http
from salver_server.messages import Changed, Event
from salver_server.providers.packs import Packs
from salver_server.routing import book
from salver_server.runtimes import Identity, RuntimeSpec, Site
from salver_server.secrets import Keychain, Vault, open_vault
from salver_server.sessions import store as bus
from salver_server.sessions.adoption import Adoption
from salver_server.sessions.house import House
from salver_server.sessions.inbox import Inbox
from salver_server.sessions.keeper import Keeper
from salver_server.sessions.launch import limits
from salver_server.sessions.outbox import Outbox
from salver_server.sessions.outgoing import open_outgoing
from salver_server.sessions.reading import open_reading
from salver_server.sessions.take import News
from salver_server.sessions.watch import Watch
from salver_server.sessions.watchdog import Watchdog
from salver_server.settings import Places, Settings, container, places
from salver_server.store import Database, open_database
from salver_server.store.install import install
from salver_server.usage import Ledger, Prices

RESERVE = 16 * 2**20
"""Bytes held back so that acceptance and receipts survive a full disk for a while."""


class AlreadyRunning(NeedsUser):
    """Another server holds this data folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A house that is open."""

    rooms: Rooms
    port: int
    socket: Path


@asynccontextmanager
async def open_house(
    settings: Settings,
    *,
    port: int = 0,
    clock: Clock | None = None,
    channel_specs: Mapping[ChannelName, ChannelSpec] | None = None,
    runtime_specs: Mapping[str, RuntimeSpec] | None = None,
    keychain: Keychain | None = None,
    key_file: bool = False,
) -> AsyncGenerator[Running]:
    """Everything, from the lock to the API; closed in the opposite order.

    With `key_file` a person has consented to a key file, should there be no keychain.
    Raises `NeedsUser` when another server holds the data folder, or a person must put something right.
    """
    where = places(settings.home)
    _arm(settings, where)
    async with AsyncExitStack() as stack:
        _make_folders(where)
        mine = stack.enter_context(_hold(where))
        listeners = stack.enter_context(_bind(where, port))
        mine.tell(
            {
                "pid": os.getpid(),
                "socket": str(where.api_socket),
                "address": f"127.0.0.1:{listeners.port}",
            }
        )
        reserve = Reserve(where.run / "reserve", size=RESERVE)
        database = await stack.enter_async_context(open_database(where.database, reserve=reserve))
        rooms = await _open_rooms(
            stack,
            settings,
            where,
            database,
            reserve,
            clock=clock or SystemClock(),
            port=listeners.port,
            channel_specs=channel_specs if channel_specs is not None else channels.discover(),
            runtime_specs=runtime_specs if runtime_specs is not None else runtimes.discover(),
            keychain=keychain,
            key_file=key_file,
        )
        await stack.enter_async_context(serve_http(make_app(rooms), listeners))
        stack.callback(rooms.hub.close)
        yield Running(rooms=rooms, port=listeners.port, socket=where.api_socket)


async def _open_rooms(
    stack: AsyncExitStack,
    settings: Settings,
    where: Places,
    database: Database,
    reserve: Reserve,
    *,
    clock: Clock,
    port: int,
    channel_specs: Mapping[ChannelName, ChannelSpec],
    runtime_specs: Mapping[str, RuntimeSpec],
    keychain: Keychain | None,
    key_file: bool,
) -> Rooms:
    this = await database.write(install)
    identity = Identity(uid=this.uid, gid=this.gid)
    skills = SkillBook(where.skills)
    agents = AgentBook(folder=where.agents, skills=skills, database=database, clock=clock)
    await agents.open()
    await asyncio.to_thread(compile_dir, container() / "salver_runner", quiet=2)
    site = Site(install=this.id, identity=identity, source=container())
    opened = {
        name: await stack.enter_async_context(spec.open(site))
        for name, spec in runtime_specs.items()
    }
    models = await _open_models(
        stack,
        settings,
        where,
        database,
        agents,
        install=this.id,
        owner=identity,
        clock=clock,
        keychain=keychain,
        key_file=key_file,
    )
    uploads = Uploads(places=where, settings=settings, database=database, clock=clock)
    await uploads.begin()
    reading = await stack.enter_async_context(open_reading())
    outgoing = await stack.enter_async_context(
        open_outgoing(
            database=database, places=where, settings=settings, disk=partial(_disk, agents)
        )
    )
    tasks = await stack.enter_async_context(background())
    hub: Hub[SessionId, Event] = Hub()

    def changed(session: SessionId) -> None:
        hub.publish(session, Changed(session=session))

    def written(session: SessionId) -> None:
        keeper.hurry(session)

    def handed(session: SessionId) -> None:
        keeper.handed(session)

    async def make_way(session: SessionId) -> None:
        await keeper.make_way(session)

    def brought(news: News) -> None:
        keeper.brought(news)

    def distrusted(session: SessionId, why: str) -> None:
        keeper.distrust(session, why)

    # Rooms of one storey meet here: each is handed the other's callable.
    inbox = Inbox(
        database=database,
        places=where,
        identity=identity,
        clock=clock,
        tasks=tasks,
        written=written,
        handed=handed,
        make_way=make_way,
    )
    outbox = Outbox(
        database=database,
        reading=reading,
        outgoing=outgoing,
        places=where,
        clock=clock,
        tasks=tasks,
        brought=brought,
        distrusted=distrusted,
    )
    watch = Watch(outbox.ask)
    house = House(
        install=this.id,
        identity=identity,
        settings=settings,
        places=where,
        database=database,
        clock=clock,
        runtimes=opened,
        agents=agents,
        gate=models.gate,
    )
    keeper = Keeper(
        house,
        inbox=inbox,
        outbox=outbox,
        watch=watch,
        tasks=tasks,
        changed=changed,
        owed=lambda chat: courier.ask(chat),
        progressed=lambda progress: hub.publish(progress.session, progress),
    )

    watchdog = Watchdog(house, keeper, inbox)

    def accepted(session: SessionId) -> None:
        inbox.ask(session)
        keeper.reconsider(session)
        changed(session)

    courier: Courier
    intake = Intake(
        database=database,
        clock=clock,
        uploads=uploads,
        route=book.routed,
        accepted=accepted,
        owed=lambda chat: courier.ask(chat),
        models=Wishes(models.accounts),
    )
    courier = Courier(
        database=database,
        clock=clock,
        specs=channel_specs,
        channels={
            name: await stack.enter_async_context(spec.open(intake))
            for name, spec in channel_specs.items()
        },
        outgoing=where.outgoing,
        tasks=tasks,
        changed=changed,
    )

    async def leave(agent: AgentName) -> None:
        now = stamp(clock.now())
        for session in await database.read(lambda conn: bus.open_sessions_of(conn, agent)):
            await database.write(
                lambda conn, session=session: bus.close_session(conn, session, now)
            )
            keeper.end_session(session, "Its agent was removed.")
        await models.accounts.remove_all_of(agent)

    adoption = Adoption(house, keeper)
    await adoption.begin()
    await courier.begin()
    await keeper.begin(stopped=this.stopped_at is not None)
    stack.push_async_callback(keeper.close)
    for loop in (
        partial(reserve.keep, clock.sleep, settings.sweep),
        inbox.keep_time,
        uploads.keep,
        keeper.sweep,
        watchdog.run,
        adoption.go_on,
        watch.run,
    ):
        tasks.create_task(forever(loop), name=repr(loop))
    return Rooms(
        settings=settings,
        places=where,
        clock=clock,
        database=database,
        agents=agents,
        skills=skills,
        intake=intake,
        uploads=uploads,
        queue=Queue(database=database, clock=clock, changed=accepted),
        keeper=keeper,
        courier=courier,
        hub=hub,
        vault=models.vault,
        accounts=models.accounts,
        trials=models.trials,
        leave=leave,
        ledger=models.ledger,
        prices=models.prices,
        probes=house.probes,
        started_at=stamp(clock.now()),
        version=version("salver"),
        pid=os.getpid(),
        port=port,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    """What has to do with models: the owner's accounts and keys, what calls cost, and the way out to them."""

    vault: Vault
    accounts: Accounts
    prices: Prices
    ledger: Ledger
    gate: ModelGate
    trials: Trials


async def _open_models(
    stack: AsyncExitStack,
    settings: Settings,
    where: Places,
    database: Database,
    agents: AgentBook,
    *,
    install: InstallId,
    owner: Identity,
    clock: Clock,
    keychain: Keychain | None,
    key_file: bool,
) -> _Models:
    vault = await stack.enter_async_context(
        open_vault(
            database,
            home=where.home,
            install=install,
            clock=clock,
            keychain=keychain,
            file_allowed=key_file,
        )
    )
    prices = Prices(where.prices, clock=clock)
    accounts = Accounts(
        database=database,
        vault=vault,
        clock=clock,
        specs=providers.discover(),
        known=prices.known,
    )
    await accounts.open()
    ledger = await _open_ledger(database, agents, accounts, prices, settings, clock=clock)

    async def reach(session: SessionId) -> Reach:
        return await reach_of(session, database=database, agents=agents)

    gateway = await stack.enter_async_context(
        open_gateway(clock, reach=reach, owner=(owner.uid, owner.gid), meter=ledger)
    )
    packs = Packs(where.packs, locks=container())
    gate = ModelGate(gateway=gateway, packs=packs, accounts=accounts)
    trials = Trials(gateway=gateway, accounts=accounts, folder=where.sockets)
    return _Models(
        vault=vault,
        accounts=accounts,
        prices=prices,
        ledger=ledger,
        gate=gate,
        trials=trials,
    )


async def _open_ledger(
    database: Database,
    agents: AgentBook,
    accounts: Accounts,
    prices: Prices,
    settings: Settings,
    *,
    clock: Clock,
) -> Ledger:
    async def budget_of(agent: AgentName) -> Budget | None:
        try:
            return (await agents.get(agent)).definition.budget
        except Rejected:  # it was removed meanwhile: its last call goes by the house's budget alone
            return None

    ledger = Ledger(
        database=database,
        clock=clock,
        prices=prices,
        house_usd=settings.budget,
        budget_of=budget_of,
        local=accounts.is_local,
    )
    await ledger.open()
    return ledger


async def _disk(agents: AgentBook, agent: AgentName) -> int:
    """Bytes that the sandboxes of this agent may take."""
    try:
        return limits((await agents.get(agent)).definition).disk
    except Rejected:  # it was removed while its last words were read
        return 0


async def reach_of(session: SessionId, *, database: Database, agents: AgentBook) -> Reach:
    """What of the web the session's agent may reach at this moment."""
    row = database.glance(lambda conn: bus.session(conn, session))
    try:
        standing = await agents.get(row.agent) if row else None
    except Rejected:
        standing = None  # removed under its feet
    if standing is None:
        return Reach(level="none")
    definition = standing.definition
    return Reach(level=definition.web, sites=definition.sites, waits=standing.waits)


def _arm(settings: Settings, where: Places) -> None:
    side, _, name = settings.failpoint.partition(":")
    if side == "server":
        failpoint.arm(name, where.home / ".failpoint")


def _make_folders(where: Places) -> None:
    """The data folder and the sockets' folder, 0700 and ours; raises `NeedsUser` when they cannot be."""
    for folder in (
        where.home,
        where.packs,
        where.run,
        where.logs,
        where.sessions,
        where.homes,
        where.intake,
        where.outgoing,
        where.agents,
        where.skills,
        where.sockets,
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = folder.lstat()
        except OSError as exc:
            raise NeedsUser(
                f"{folder} cannot be made: {exc.strerror}. Set SALVER_HOME to a folder that you may write to."
            ) from exc
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise NeedsUser(
                f"{folder} is no folder of yours. Remove it, or set SALVER_HOME to another folder."
            )
        if found.st_mode & 0o077:
            folder.chmod(0o700)


@contextmanager
def _hold(where: Places) -> Generator[Lock]:
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(lock(where.lock))
        except Held as exc:
            pid, address = exc.holder.get("pid", "?"), exc.holder.get("address", "?")
            raise AlreadyRunning(
                f"Salver is already running on {where.home}: process {pid}, address {address}. "
                "Talk to that one, stop it, or set SALVER_HOME to another folder."
            ) from exc
        yield mine


@contextmanager
def _bind(where: Places, port: int) -> Generator[Listeners]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(bind(where.api_socket, port))
        except OSError as exc:
            raise NeedsUser(
                f"Salver cannot listen on 127.0.0.1:{port}: {exc.strerror}. Choose another with --port, or 0 for a free one."
            ) from exc
        yield found
