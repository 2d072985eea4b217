"""etcd and kube-apiserver as processes on the loopback, for as long as a block lasts."""

from __future__ import annotations

import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from headrace.cli.broker import free_port
from tests.hopsworks.certificates import Authority
from tests.kubernetes.real.programs import Programs

#: Who may do everything, and who makes pods in namespaces where only restricted ones are taken.
ADMIN, JUDGE = "admin-token", "judge-token"
_USERS = f'{ADMIN},admin,1,"system:masters"\n{JUDGE},judge,2,"judges"\n'
_HERE = "127.0.0.1"
_READY_S = 120


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers: its address, who signed its certificate (PEM), and its version's two numbers."""

    url: str
    authority: str


@contextmanager
def running(programs: Programs, home: Path) -> Iterator[Running]:
    """Run both until the block ends; raises RuntimeError, with the last it said, where one does not get ready."""
    client, peer, port = free_port(), free_port(), free_port()
    authority = Authority()
    with (
        _process([programs.etcd, *_of_etcd(home, client, peer)], home / "etcd.log"),
        _process([programs.kube_apiserver, *_of_server(home, client, port, authority)], home / "server.log") as server,
    ):
        made = Running(f"https://{_HERE}:{port}", authority.pem)
        _await(server, made, home / "server.log")
        yield made


def _of_etcd(home: Path, client: int, peer: int) -> list[str]:
    at, between = f"http://{_HERE}:{client}", f"http://{_HERE}:{peer}"
    return [
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls={at}",
        f"--advertise-client-urls={at}",
        f"--listen-peer-urls={between}",
        f"--initial-advertise-peer-urls={between}",
        f"--initial-cluster=default={between}",
        "--unsafe-no-fsync",  # nothing of it outlives the tests
    ]


def _of_server(home: Path, etcd: int, port: int, authority: Authority) -> list[str]:
    certificate, key = (
        _written(home / name, text) for name, text in zip("ck", authority.signed("server"), strict=True)
    )
    accounts = _written(home / "accounts", _rsa_key())
    return [
        f"--etcd-servers=http://{_HERE}:{etcd}",
        f"--bind-address={_HERE}",
        f"--secure-port={port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--token-auth-file={_written(home / 'users.csv', _USERS)}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",  # no controller makes the account `default` of a namespace
        "--enable-admission-plugins=PodSecurityPolicy",
    ]


def _rsa_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _written(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


@contextmanager
def _process(command: list[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen([str(each) for each in command], stdout=out, stderr=out, cwd=log.parent)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(server: subprocess.Popen[bytes], made: Running, log: Path) -> None:
    trust = ssl.create_default_context(cadata=made.authority)
    asked = urllib.request.Request(f"{made.url}/readyz", headers={"Authorization": f"Bearer {ADMIN}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    paused = threading.Event()
    for _ in range(_READY_S * 5):
        with suppress(OSError), opener.open(asked, timeout=5) as answer:
            if answer.read() == b"ok":
                return
        if server.poll() is not None:
            break
        paused.wait(0.2)
    raise RuntimeError(f"kube-apiserver did not get ready; the last it said:\n{log.read_text()[-2000:]}")
