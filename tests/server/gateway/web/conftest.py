"""A small internet on loopback: names, public-looking addresses, and servers with real certificates.

Lookups and connections are the rim of the house; all within it is real: sockets, TLS, the gateway's door.
"""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from salver_server.clock import Clock, SystemClock
from salver_server.gateway import Gateway, token_hash
from salver_server.gateway.web import Reach, Web
from salver_server.gateway.web.dial import Rim
from salver_server.ids import AgentName, SessionId
from tests.fakes.meter import FakeMeter

TOKEN = "session-token"
SESSION = SessionId("s-1")
HOST = "shop.example.org"
ADDRESS = "93.184.215.14"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom the small internet trusts."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    folder: Path

    @property
    def trust(self) -> ssl.SSLContext:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def serving(self, *names: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(names[0], key, names).issuer_name(self.certificate.subject)
        certificate = made.sign(self.key, hashes.SHA256())
        file = self.folder / f"{names[0]}.pem"
        file.write_bytes(_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, hosts: tuple[str, ...] = ()
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        made = made.add_extension(names, critical=False)
    return made


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    made = _certificate("the small internet", key)
    certificate = made.issuer_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the small internet")])
    ).sign(key, hashes.SHA256())
    return Authority(key, certificate, tmp_path_factory.mktemp("authority"))


@dataclass(slots=True, kw_only=True)
class Internet:
    """What names mean, where addresses lead, and what was asked of both."""

    authority: Authority
    names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    ports: dict[str, int] = field(default_factory=dict[str, int])
    """Of loopback, by address; where there is none nobody answers."""
    looked_up: list[str] = field(default_factory=list[str])
    dialled: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    requests: list[str] = field(default_factory=list[str])
    """Heads that its servers got."""

    @property
    def rim(self) -> Rim:
        return Rim(lookup=self._lookup, connect=self._connect, trust=lambda: self.authority.trust)

    async def _lookup(self, host: str) -> list[str]:
        self.looked_up.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.names[host]

    async def _connect(self, address: str, port: int) -> socket.socket:
        self.dialled.append((address, port))
        if address not in self.ports:
            raise ConnectionRefusedError(111, "Connection refused")
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.ports[address]))
        return sock

    @asynccontextmanager
    async def server(
        self, serve: Serve, *, host: str = HOST, address: str = ADDRESS, plain: bool = False
    ) -> AsyncGenerator[None]:
        """A host that does with each connection whatever it likes."""
        context = None if plain else self.authority.serving(host)
        async with await asyncio.start_server(serve, "127.0.0.1", ssl=context) as server:
            self.names.setdefault(host, [address])
            self.ports[address] = server.sockets[0].getsockname()[1]
            yield

    def saying(self, answer: bytes) -> Serve:
        """Answers every request with these bytes and closes."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(answer)
                await writer.drain()
            writer.close()

        return serve


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
def internet(authority: Authority) -> Internet:
    return Internet(authority=authority)


@dataclass(slots=True, kw_only=True)
class Session:
    """A session's door and what its agent may reach."""

    gateway: Gateway
    path: Path
    reach: Reach = field(default_factory=lambda: Reach(level="listed", sites=(HOST,)))
    clients: list["Client"] = field(default_factory=list["Client"])

    async def exchanged(self, request: bytes) -> bytes:
        """What comes back for these bytes until the door closes."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()

    async def connect(self, target: str, *more: str, credentials: str = "") -> "Client":
        """A client that has asked for a tunnel, and the answer's head."""
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=2**20)
        authorization = credentials or f"Proxy-Authorization: Bearer {TOKEN}"
        head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", authorization, *more, "", ""]
        writer.write("\r\n".join(head).encode("latin-1"))
        client = Client(reader=reader, writer=writer)
        self.clients.append(client)
        client.answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        return client

    async def fetched(self, url: str, *, method: str = "GET") -> "Answer":
        """What the gateway answers to a fetch; the address goes out as it is, percent-encoded."""
        encoded = "".join(f"%{byte:02x}" for byte in url.encode())
        head = f"{method} /web?url={encoded} HTTP/1.1\r\nhost: gateway\r\n"
        answer = await self.exchanged(f"{head}authorization: Bearer {TOKEN}\r\n\r\n".encode())
        return answered(answer)


@dataclass(slots=True, kw_only=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answer: str = ""

    @property
    def status(self) -> int:
        return int(self.answer.split()[1])

    async def why(self) -> str:
        """The body of a refusal."""
        return (await self.reader.read()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def answered(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Answer(
        status=int(first.split()[1]), headers={name: value for name, _, value in pairs}, body=body
    )


@asynccontextmanager
async def opened(internet: Internet, clock: Clock) -> AsyncGenerator[Session]:
    """A session's door to the small internet."""

    async def reach(_: SessionId) -> Reach:
        return session.reach

    with tempfile.TemporaryDirectory(prefix="line-") as folder:
        async with asyncio.TaskGroup() as tasks:
            gateway = Gateway(
                tasks,
                SystemClock(),
                owner=None,
                meter=FakeMeter(),
                web=Web(internet.rim, clock, reach),
            )
            session = Session(gateway=gateway, path=Path(folder) / "gateway")
            await gateway.open(
                SESSION,
                session.path,
                agent=AgentName("salver"),
                token_hash=token_hash(TOKEN),
                upstreams=[],
            )
            try:
                yield session
            finally:
                await gateway.close_all()
                for client in session.clients:
                    client.writer.close()


@pytest.fixture
async def session(internet: Internet) -> AsyncGenerator[Session]:
    async with opened(internet, SystemClock()) as session:
        yield session
