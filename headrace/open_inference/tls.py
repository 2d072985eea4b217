"""TLS of both doors: a certificate and its key from files, read again when the files change.

A certificate that is renewed in place, as cert-manager does, is used for the next handshake; connections that are open
go on with the one they have. A caller's session of before is not resumed: what has changed is asked of it, too.
Files that do not fit together, as half-way through a change, are left alone until they do: the one before serves on,
and that is said once. With a client's CA only callers with a certificate of it are let in.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

from headrace.open_inference.shield import say

_LOOK_S = 2.0


class CertificateRefused(ValueError):
    """The files of a certificate cannot be used; nothing was started."""


class Certificate:
    """The certificate that is used now, and the files it is from.

    `context` is for the next handshake: sessions are its own, so that none outlives the CA that let it in. `pem` holds
    key, chain and the client's CA (empty without), as they were read.
    """

    def __init__(self, certfile: str, keyfile: str, client_ca: str = "") -> None:
        """Read the files; raises CertificateRefused with the reason."""
        if not certfile or not keyfile:
            given, absent = ("ssl_certfile", "ssl_keyfile") if certfile else ("ssl_keyfile", "ssl_certfile")
            raise CertificateRefused(f"{given} is set without {absent}, needs both: nothing was started")
        self._certfile, self._keyfile, self._client_ca = certfile, keyfile, client_ca
        self._seen = self._stamp()
        self.context = self._read()
        self.pem = self._pem()

    def refresh(self) -> bool:
        """Read the files again if they changed; tell whether another certificate is used from now on."""
        seen = self._stamp()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.context, self.pem = self._read(), self._pem()
        except (CertificateRefused, OSError) as refused:  # between two looks a file may have gone
            say(f"{refused}: the certificate before it serves on\n")
            return False
        return True

    async def watch(self, every_s: float = _LOOK_S) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            if self.refresh():
                with suppress(OSError):  # whoever read it may have gone
                    print("the certificate was renewed", flush=True)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certfile, self._keyfile)
            if self._client_ca:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as wrong:
            reason = getattr(wrong, "reason", None) or wrong.strerror or type(wrong).__name__
            absent = [file for file in self._files() if file and not Path(file).is_file()]
            found = f"there is no file {absent[0]!r}" if absent else f"{reason}: {self._certfile}, {self._keyfile}"
            raise CertificateRefused(
                f"the files of ssl_certfile and ssl_keyfile cannot be used ({found}), needs a certificate and its key"
            ) from None
        return context

    def _pem(self) -> tuple[bytes, bytes, bytes]:
        return tuple(Path(file).read_bytes() if file else b"" for file in self._files())  # type: ignore[return-value]

    def _files(self) -> tuple[str, str, str]:
        return self._keyfile, self._certfile, self._client_ca

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_identity(file) for file in self._files() if file)


def certificate_of(certfile: str, keyfile: str, client_ca: str = "") -> Certificate | None:
    """Return the certificate of these files, None where none are named; raises CertificateRefused."""
    return Certificate(certfile, keyfile, client_ca) if certfile or keyfile or client_ca else None


def _identity(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
