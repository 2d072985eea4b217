"""The project's data sets: folders made, listed and removed, files uploaded in chunks and downloaded whole."""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from tests.hopsworks.metadata import USER, Metadata
from tests.hopsworks.routes import PROJECT, RefusedError, Routes, number
from tests.hopsworks.wire import Request, Response

FILES = Routes()
_ALL = PROJECT + "/dataset"
_FIELD = re.compile(rb'name="([^"]*)"')


@FILES.on("GET", _ALL + "/download/with_auth/{path*}")
def download(state: Metadata, _request: Request, project: str, path: str) -> Response:
    found = located(state, path)
    if not found.is_file():
        raise _no_file(path)
    return Response(body=found.read_bytes(), kind=b"application/octet-stream")


@FILES.on("POST", _ALL + "/upload/{path*}")
def upload(state: Metadata, request: Request, project: str, path: str) -> None:
    """Take one chunk of a file; its place follows from its number, so chunks may come in any order."""
    folder = located(state, path)
    if not folder.is_dir():
        raise _no_file(path)
    fields = _fields_of(request)
    try:
        name, chunk = fields["flowFilename"].decode(), fields["file"]
        at = (int(fields["flowChunkNumber"]) - 1) * int(fields["flowChunkSize"])
    except (KeyError, ValueError) as wrong:
        raise RefusedError(400, 120001, "The upload lacks a field of its form.", str(wrong)) from wrong
    if len(chunk) != int(fields.get("flowCurrentChunkSize", b"-1")):
        raise RefusedError(400, 110028, "The chunk is not as long as it says.", name)
    whole = folder / name
    with whole.open("r+b" if whole.exists() else "w+b") as file:
        file.seek(at)
        file.write(chunk)


@FILES.on("GET", _ALL + "/{path*}")
def look(state: Metadata, request: Request, project: str, path: str) -> dict[str, Any]:
    found = located(state, path)
    if not found.exists():
        raise _no_file(path)
    if request.query.get("action") != ["listing"]:
        told = _told(state, found)
        return {**told, "datasetType": "DATASET"} if found.parent == state.files else told
    descending = request.query.get("sort_by", [""])[0].endswith(":desc")
    within = sorted(found.iterdir(), key=lambda one: one.name, reverse=descending) if found.is_dir() else [found]
    offset = number(request.query.get("offset", ["0"])[0])
    limit = number(request.query.get("limit", ["1000"])[0])
    return {"count": len(within), "items": [_told(state, one) for one in within[offset : offset + limit]]}


@FILES.on("POST", _ALL + "/{path*}")
def change(state: Metadata, request: Request, project: str, path: str) -> dict[str, Any] | None:
    """Make a folder, or copy or move what is there."""
    found, action = located(state, path), request.query.get("action", [""])[0]
    if action == "create":
        if found.exists():
            raise RefusedError(400, 110004, "Dataset or folder exists already.", path)
        found.mkdir(parents=True)
        return _told(state, found)
    if action not in ("copy", "move"):
        raise RefusedError(400, 120001, "What is to be done?", action)
    if not found.exists():
        raise _no_file(path)
    to = located(state, request.query["destination_path"][0])
    if action == "move":
        shutil.move(found, to)
    elif found.is_dir():
        shutil.copytree(found, to)
    else:
        shutil.copy(found, to)
    return None


@FILES.on("DELETE", _ALL + "/{path*}")
def remove(state: Metadata, _request: Request, project: str, path: str) -> None:
    found = located(state, path)
    if not found.exists():
        raise _no_file(path)
    if found.is_dir():
        shutil.rmtree(found)
    else:
        found.unlink()


def located(state: Metadata, path: str) -> Path:
    """Return where a path of the project lies; refuses one that leads out of it."""
    (state.files / "Models").mkdir(parents=True, exist_ok=True)
    (state.files / "Resources").mkdir(exist_ok=True)
    parts = PurePosixPath(path.lstrip("/")).parts
    if parts[:2] == ("Projects", state.project):
        parts = parts[2:]
    if ".." in parts:
        raise RefusedError(400, 110011, "Illegal path.", path)
    return state.files.joinpath(*parts)


def _told(state: Metadata, found: Path) -> dict[str, Any]:
    path = f"/Projects/{state.project}/{found.relative_to(state.files).as_posix()}"
    attributes = {
        "name": found.name,
        "path": path,
        "dir": found.is_dir(),
        "size": found.stat().st_size,
        "owner": USER,
        "permission": "rwxrwx---",
        "modificationTime": "2026-01-01T00:00:00Z",
        "underConstruction": False,
    }
    return {"attributes": attributes, "zipState": "NONE"}


def _fields_of(request: Request) -> dict[str, bytes]:
    _, _, boundary = request.headers.get(b"content-type", b"").partition(b"boundary=")
    fields = {}
    for part in (b"\r\n" + request.body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        if named := _FIELD.search(head):
            fields[named[1].decode()] = body
    return fields


def _no_file(path: str) -> RefusedError:
    return RefusedError(404, 110018, "Path wasn't found.", path)
