"""TLS of both doors with real certificates: renewed while it serves, and of callers where that is asked for."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from headrace.open_inference.tls import Certificate, CertificateRefused, certificate_of
from tests.open_inference.certificates import Authority
from tests.open_inference.live import Live, started
from tests.open_inference.sockets import AMOUNT, answer, connected, post, to_the_end, until
from tests.open_inference.test_overload import ASK, call_of

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and a frame of no settings


@dataclass
class Files:
    """Where the tests' certificates are."""

    authority: Authority
    certfile: Path
    keyfile: Path

    @property
    def names(self) -> tuple[str, str]:
        return str(self.certfile), str(self.keyfile)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate named `first`."""
    found = Files(Authority(tmp_path / "ca.pem"), tmp_path / "tls.crt", tmp_path / "tls.key")
    found.authority.sign("first", found.certfile, found.keyfile)
    return found


@contextmanager
def secured(files: Files, client_ca: str = "") -> Iterator[Live]:
    """Run the echo server with a certificate."""
    live = started("--tls", *files.names, client_ca)
    try:
        yield live
    finally:
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(20) == 0


def trusting(files: Files, *own: Path) -> ssl.SSLContext:
    """Return how a caller checks the server, and the certificate and key it shows itself."""
    context = ssl.create_default_context(cafile=str(files.authority.path))
    if own:
        context.load_cert_chain(*own)
    return context


@contextmanager
def calling(live: Live, context: ssl.SSLContext) -> Iterator[tuple[ssl.SSLSocket, str]]:
    """Connect, and give the connection and the name of the certificate it was shown."""
    host, _, port = live.http.partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        shown = connection.getpeercert() or {}
        yield connection, dict(pair for part in shown.get("subject", ()) for pair in part)["commonName"]


def asked_over_grpc(live: Live, files: Files, own: tuple[Path, Path] | None = None) -> object:
    """Ask once over a new connection."""
    key, chain = (own[1].read_bytes(), own[0].read_bytes()) if own else (None, None)
    with grpc.secure_channel(
        live.grpc, grpc.ssl_channel_credentials(files.authority.path.read_bytes(), key, chain)
    ) as channel:
        return channel.unary_unary(ASK, lambda message: message.SerializeToString())(call_of("amount"), timeout=10)


def test_a_renewed_certificate_is_used_for_new_connections_and_open_ones_go_on(files: Files) -> None:
    with secured(files) as live, calling(live, trusting(files)) as (connection, name):
        assert name == "first"
        assert asked_over_grpc(live, files)
        authority = Authority(files.authority.path)  # of another authority even
        authority.sign("second", files.certfile, files.keyfile)

        def renewed() -> bool:
            try:
                with calling(live, trusting(files)) as (_, name):
                    return name == "second"
            except ssl.SSLError:
                return False

        until(renewed, "the renewed certificate")
        assert asked_over_grpc(live, files)
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200  # type: ignore[arg-type]


def test_files_that_do_not_fit_together_are_left_alone(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    used = Certificate(*files.names)
    before = used.pem
    files.keyfile.write_text("half a key")
    assert (used.refresh(), used.refresh()) == (False, False)
    assert used.pem == before
    complained = capsys.readouterr().err
    assert complained.count("\n") == 1  # it is said once
    assert complained.startswith("the files of ssl_certfile and ssl_keyfile cannot be used (")
    assert complained.endswith("), needs a certificate and its key: the certificate before it serves on\n")
    files.authority.sign("third", files.certfile, files.keyfile)
    assert used.refresh()


class Gone:
    """A standard output that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_files_are_looked_at_though_nobody_reads_what_is_said(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    used, looks = Certificate(*files.names), iter((True, True))

    def renewed() -> bool:
        if (look := next(looks, None)) is None:
            raise asyncio.CancelledError
        return look

    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(used, "refresh", renewed)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(used.watch(0.0))
    assert next(looks, None) is None


def ask_as_nobody(live: Live, files: Files) -> None:
    """Ask without a certificate; TLS 1.3 tells of it only after the handshake."""
    with calling(live, trusting(files)) as (connection, _):
        connection.sendall(post(AMOUNT))
        if not connection.recv(1):
            raise ConnectionError("hung up on")


def test_only_callers_of_the_clients_authority_are_let_in(files: Files, tmp_path: Path) -> None:
    own = tmp_path / "caller.crt", tmp_path / "caller.key"
    files.authority.sign("caller", *own)
    with secured(files, str(files.authority.path)) as live:
        with calling(live, trusting(files, *own)) as (connection, _):
            connection.sendall(post(AMOUNT))
            assert answer(connection)[0] == 200  # type: ignore[arg-type]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask_as_nobody(live, files)
        assert asked_over_grpc(live, files, own)
        with pytest.raises(grpc.RpcError) as refused:
            asked_over_grpc(live, files)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("door", ["http", "grpc"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_outlives_the_authority_that_let_its_caller_in(
    version: ssl.TLSVersion, door: str, files: Files, tmp_path: Path
) -> None:
    own, clients = (tmp_path / "caller.crt", tmp_path / "caller.key"), tmp_path / "clients.pem"
    Authority(clients).sign("caller", *own)
    with secured(files, str(clients)) as live:
        context = trusting(files, *own)
        context.maximum_version = version
        if door == "grpc":
            context.set_alpn_protocols(["h2"])

        def let_in(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
            """Return the session of a connection that is answered, None where it is not."""
            host, _, port = getattr(live, door).partition(":")
            try:
                with (
                    socket.create_connection((host, int(port)), timeout=20) as plain,
                    context.wrap_socket(plain, server_hostname=host, session=session) as connection,
                ):
                    connection.sendall(post(AMOUNT) if door == "http" else HTTP2)
                    return connection.session if connection.recv(1) else None
            except (ssl.SSLError, ConnectionError):
                return None

        session = let_in(None)
        assert session is not None
        assert let_in(session)
        Authority(clients)  # another one, which has signed nobody
        until(lambda: not let_in(None), "the other authority")
        assert not let_in(session)


def test_a_certificate_needs_both_files_and_they_must_be_there(files: Files) -> None:
    with pytest.raises(CertificateRefused) as refused:
        Certificate(str(files.certfile), "")
    assert str(refused.value) == "ssl_certfile is set without ssl_keyfile, needs both: nothing was started"
    files.keyfile.unlink()
    with pytest.raises(CertificateRefused) as refused:
        Certificate(*files.names)
    assert str(refused.value) == (
        f"the files of ssl_certfile and ssl_keyfile cannot be used (there is no file {str(files.keyfile)!r}), "
        "needs a certificate and its key"
    )
    files.keyfile.write_text("no key")
    with pytest.raises(CertificateRefused, match=str(files.keyfile)):
        Certificate(*files.names)
    assert certificate_of("", "") is None


def test_who_never_begins_a_handshake_is_counted_and_there_is_room_for_so_many(files: Files) -> None:
    live = started("--tls", *files.names, "", "--bounds", '{"connections": 4}')
    silent = [connected(live) for _ in range(20)]
    for late in silent[4:]:
        late.settimeout(5)  # half of what a handshake may take
        assert to_the_end(late) == b""
    silent.pop(0).close()

    def let_in() -> bool:
        try:
            with calling(live, trusting(files)) as (connection, _):
                connection.sendall(post(AMOUNT))
                return answer(connection)[0] == 200  # type: ignore[arg-type]
        except (ssl.SSLError, ConnectionError):
            return False

    until(let_in, "room for another")
    for left in silent:
        left.close()
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(20) == 0


def test_who_is_in_a_handshake_when_the_server_stops_is_answered(files: Files) -> None:
    live = started("--tls", *files.names, "")
    host, _, port = live.http.partition(":")
    with connected(live) as plain:
        with calling(live, trusting(files)) as (before, _):
            live.process.send_signal(signal.SIGTERM)
            assert before.recv(1) == b""  # who asks nothing is hung up on: the server is stopping
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=20)
        plain.settimeout(1)
        with pytest.raises(TimeoutError):
            plain.recv(1)  # it is waited for
        plain.settimeout(20)
        with trusting(files).wrap_socket(plain, server_hostname=host) as connection:
            connection.sendall(post(AMOUNT))
            assert answer(connection)[0] == 200  # type: ignore[arg-type]
    assert live.process.wait(20) == 0
