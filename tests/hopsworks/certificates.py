"""Certificates of one cluster: an authority made at its start, and what it signs for the loopback."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)
_ADDRESSES = ("127.0.0.1", "127.0.0.77")


class Authority:
    """A private authority; it lives as long as the cluster."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Stand-in authority")
        self._certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def signed(self, name: str, *others: str) -> tuple[str, str]:
        """Return a new certificate of the loopback, and of other names of hosts, and its key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = (x509.IPAddress(ipaddress.ip_address(one)) for one in _ADDRESSES)
        hosts = [*map(x509.DNSName, ("localhost", *others)), *addresses]
        certificate = (
            _builder(_named(name), self._name, key.public_key())
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `ca.pem` and a server's certificate with its key, and return both paths."""
        authority, server = folder / "ca.pem", folder / "server.pem"
        authority.write_text(self.pem)
        server.touch(mode=0o600)
        server.write_text("".join(self.signed("localhost")))
        return authority, server


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )
