"""What lies in a model directory, compared with what its manifest lists: every file, and nothing else.

A file is read once, and the bytes that are handed on are those whose SHA-256 was compared. What can run
code when it is loaded is refused by its name and by its first bytes, before its checksum is looked at.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from predictor.manifest import MANIFEST, SIGNATURE, ModelRefused
from predictor.onnx_bytes import kept_elsewhere

#: Files that run code when they are loaded.
CODE = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth", ".mar", ".py", ".npy", ".so", ".plan")
#: How pickles and archives (of pickles, for the most part) begin.
_CODE_BYTES = (b"\x80", b"PK\x03\x04", b"\x7fELF")


def files_in(directory: Path, name: str) -> dict[str, Path]:
    """Return a directory's files by their path in it; ModelRefused for a link, or what is neither file nor folder."""
    found = {}
    for path, is_folder in _walk(directory):
        inside = path.relative_to(directory).as_posix()
        if path.is_symlink():
            raise ModelRefused(f"model {name!r} holds {inside}, a link to elsewhere, needs the file itself", "unlisted")
        if is_folder:
            continue
        if not path.is_file() and path.exists():
            raise ModelRefused(f"model {name!r} holds {inside}, which is no file, needs files alone")
        found[inside] = path
    return found


def check_kinds(found: Mapping[str, Path], name: str) -> None:
    """Raise ModelRefused for a file that can run code when it is loaded."""
    for inside, path in found.items():
        with path.open("rb") as file:
            beginning = file.read(4)
        if path.suffix.lower() in CODE or beginning.startswith(_CODE_BYTES):
            raise ModelRefused(
                f"model {name!r} holds {inside}, a file that can run code when loaded, needs ONNX", "code"
            )


def check_names(found: Collection[str], listed: Collection[str], name: str) -> None:
    """Raise ModelRefused where other files are there than are listed; the manifest and a signature list themselves."""
    found = set(found) - {MANIFEST, SIGNATURE}
    if unlisted := sorted(found - set(listed)):
        raise ModelRefused(
            f"model {name!r} holds {', '.join(unlisted)}, which its {MANIFEST} does not list", "unlisted"
        )
    if absent := sorted(set(listed) - found):
        raise ModelRefused(
            f"model {name!r} lacks {', '.join(absent)}, which its {MANIFEST} lists: it is half written", "incomplete"
        )


def read_checked(path: Path, inside: str, wanted: str, name: str) -> bytes:
    """Return a file's bytes; ModelRefused where they are others than were written, or keep weights elsewhere."""
    content = path.read_bytes()
    got = hashlib.sha256(content).hexdigest()
    if got != wanted:
        raise ModelRefused(f"{inside} of model {name!r} has SHA-256 {got}, needs {wanted}: it was altered", "altered")
    if inside.endswith(".onnx"):
        check_onnx(content, inside, name)
    return content


def check_onnx(content: bytes, inside: str, name: str) -> None:
    """Raise ModelRefused for bytes that are no ONNX file, or one that reads further files."""
    try:
        places = kept_elsewhere(content)
    except ValueError as wrong:
        raise ModelRefused(f"{inside} of model {name!r} is no ONNX file: {wrong}") from wrong
    if places:
        named = ", ".join(repr(place[:200]) for place in places if place) or "another file"
        raise ModelRefused(f"{inside} of model {name!r} keeps weights in {named}, needs them in the file itself")


def _walk(directory: Path) -> Iterator[tuple[Path, bool]]:
    for folder, folders, files in os.walk(directory, onerror=_unreadable, followlinks=False):
        folders.sort()
        for one in sorted(files):
            yield Path(folder) / one, False
        for one in folders:
            yield Path(folder) / one, True


def _unreadable(fault: OSError) -> None:
    raise fault  # a folder that is passed over would hide what is in it
