"""TLS of the gRPC door: the certificate that is used now, told to every handshake."""

from __future__ import annotations

import grpc

from headrace.open_inference.tls import Certificate


def credentials_of(certificate: Certificate) -> grpc.ServerCredentials:
    """Return credentials that follow a certificate which is renewed."""
    told = certificate.pem

    def fetched() -> grpc.ServerCertificateConfiguration | None:
        nonlocal told
        if certificate.pem is told:
            return None  # as it was
        told = certificate.pem
        return _configuration(told)

    return grpc.dynamic_ssl_server_credentials(_configuration(told), fetched, bool(told[2]))


def _configuration(pem: tuple[bytes, bytes, bytes]) -> grpc.ServerCertificateConfiguration:
    key, chain, client_ca = pem
    return grpc.ssl_server_certificate_configuration([(key, chain)], client_ca or None)
