"""Model directories without a network in them: ONNX files that hold nothing, and keys to sign them with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from predictor.repository import write_model


def field(number: int, content: bytes | int) -> bytes:
    """A field of a protocol buffers message: a number, or bytes."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def onnx_of(producer: bytes) -> bytes:
    """An ONNX file that says by whom it was made, and nothing else."""
    return field(2, producer)


def write(repository: Path, producer: bytes = b"one", columns: int = 2, **given: Any) -> Path:
    """Write a version of the model `small` and return its directory."""
    told = {"fingerprint": "f" * 64, "columns": [{"name": f"c{at}"} for at in range(columns)], "outputs": ["p"]}
    return write_model(repository, "small", onnx_of(producer), **told | given)


def relisted(directory: Path, *names: str) -> None:
    """Make the manifest agree with files that were changed, as whoever can write one file can write the other."""
    manifest = json.loads((directory / "headrace.json").read_text())
    for name in names:
        manifest["files"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / "headrace.json").write_text(json.dumps(manifest))


def keys(
    folder: Path, name: str = "team", curve: ec.EllipticCurve | None = None, password: str = "", kind: str = "ec"
) -> tuple[Path, Path]:
    """Write a private and a public key, of a curve or of RSA, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    private = (
        rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(curve or ec.SECP256R1())
    )
    locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    secret.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    public.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return secret, public


def _varint(value: int) -> bytes:
    said = bytearray()
    while value > 127:
        said.append(value & 127 | 128)
        value >>= 7
    return bytes((*said, value))
