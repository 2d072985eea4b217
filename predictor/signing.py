"""Signatures of model directories: OpenSSF model signing with a key of one's own.

Checksums find what was damaged; who can write a file can write its checksum too. A signature says
that whoever holds the private key has seen every byte: it covers the manifest, and so every file it
lists. Keys are PEM files of an elliptic curve (P-256, P-384 or P-521), the password of a private one is in
`HEADRACE_SIGNING_PASSWORD`. Nothing is asked of a network.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from predictor.manifest import SIGNATURE, ModelRefused

_INSTALL = "pip install 'headrace[signing]'"
#: How the library begins to say that the signature is good, and of other files.
_OTHER_FILES = "Signature mismatch"
_CURVES = "P-256, P-384 or P-521"
_PASSWORD = "HEADRACE_SIGNING_PASSWORD"


def write_signature(directory: Path, key: Path | str) -> None:
    """Sign all that lies in a directory, but an earlier signature; raises ModelRefused for a key that cannot sign."""
    hashing, signing, _ = _library()
    if wrong := _unlike(key):
        raise _no_signer(key, f"it is of {wrong}")
    covers = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)

    def sign() -> None:
        config = signing.Config().set_hashing_config(covers)
        config.use_elliptic_key_signer(private_key=Path(key), password=_password())
        config.sign(directory, directory / SIGNATURE)

    if wrong := _failure(sign):
        raise _no_signer(key, wrong)


@contextmanager
def public_half(key: Path | str) -> Iterator[Path]:
    """Give a file of the same name with the public half of a private key; ModelRefused for a key that cannot sign."""
    _library()
    from cryptography.hazmat.primitives import serialization

    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    with tempfile.TemporaryDirectory() as folder:
        half = Path(folder) / Path(key).name

        def write() -> None:
            private = serialization.load_pem_private_key(Path(key).read_bytes(), _password())
            half.write_bytes(private.public_key().public_bytes(encoding, form))

        if wrong := _failure(write):
            raise _no_signer(key, wrong)
        yield half


def check_signature(directory: Path, name: str, digests: Mapping[str, str], public_key: Path | str) -> None:
    """Raise ModelRefused unless `public_key` has signed exactly these files with these SHA-256 digests.

    The signature itself says what it covers and what it leaves out; neither is believed: it must
    cover every file there is.
    """
    if not (directory / SIGNATURE).is_file():
        raise ModelRefused(
            f"model {name!r} has no signature, needs one by the key of {Path(public_key).name!r}", "unsigned"
        )
    content = (directory / SIGNATURE).read_bytes()
    _check_key(public_key)
    wrong = _found_wrong(directory, content, public_key)
    if not wrong or wrong.startswith(_OTHER_FILES):
        signed = _signed(content)
        unlike = sorted(inside for inside in digests if signed.get(inside) != digests[inside])
        if not wrong and signed == digests:
            return
        wrong = f"it is not of {', '.join(unlike)} as found" if unlike else "it is of other files"
    by = Path(public_key).name
    raise ModelRefused(f"the signature of model {name!r} does not hold under the key of {by!r}: {wrong}", "unsigned")


def _no_signer(key: Path | str, wrong: str) -> ModelRefused:
    return ModelRefused(f"key {Path(key).name!r} cannot sign: {wrong}, needs a private key of {_CURVES}")


def _found_wrong(directory: Path, content: bytes, public_key: Path | str) -> str:
    _, _, verifying = _library()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / SIGNATURE  # the very bytes whose content is looked at below
        kept.write_bytes(content)

        def verify() -> None:
            config = verifying.Config().use_elliptic_key_verifier(public_key=Path(public_key))
            config.verify(directory, kept)

        return _failure(verify)


def _signed(content: bytes) -> dict[str, str]:
    """Return the SHA-256 of each file that a signature covers, which is empty where it uses other digests."""
    envelope = json.loads(content)["dsseEnvelope"]
    predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    resources: list[dict[str, Any]] = predicate["resources"]
    return {one["name"]: one["digest"] for one in resources if one["algorithm"] == "sha256"}


def _check_key(public_key: Path | str) -> None:
    try:
        content = Path(public_key).read_bytes()
    except OSError as absent:
        raise ModelRefused(f"public key {str(public_key)!r} cannot be read: {absent.strerror}") from absent
    if b"PUBLIC KEY" not in content:
        raise ModelRefused(f"{Path(public_key).name!r} is no public key, needs a PEM file with one")
    _library()
    if wrong := _unlike(public_key):
        raise ModelRefused(f"public key {Path(public_key).name!r} is of {wrong}, needs one of {_CURVES}")


def _unlike(key: Path | str) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    loaded: Any
    try:
        content = Path(key).read_bytes()
        if b"PUBLIC KEY" in content:
            loaded = serialization.load_pem_public_key(content)
        else:
            loaded = serialization.load_pem_private_key(content, _password())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):  # what cannot be read is the library's to tell
        return ""
    if isinstance(loaded, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return ""
    return type(loaded).__name__.removesuffix("Key").removesuffix("Public").removesuffix("Private")


def _password() -> bytes | None:
    return os.environ.get(_PASSWORD, "").encode() or None


def _failure(work: Callable[[], None]) -> str:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        with redirect_stdout(StringIO()):  # the library prints advice
            work()
    except InvalidSignature:
        return "it was made by another key, or altered"
    except (OSError, UnsupportedAlgorithm) as wrong:
        return str(getattr(wrong, "strerror", "") or wrong)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as wrong:
        return str(wrong).partition("\n")[0][:300] or type(wrong).__name__
    return ""


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as absent:
        raise ModelRefused(f"signatures need the package model-signing, which is not installed: {_INSTALL}") from absent
    return hashing, signing, verifying
