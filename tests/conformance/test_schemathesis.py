"""schemathesis, which nobody here wrote, tries our server by the protocol's own document and by the one it serves."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from headrace.cli.stack import Server
from tests.conformance.specification import corrected, write

#: JSON Schema cannot say how many elements a shape needs, so that what fits the schema may be refused all the same. And
#: what does not fit may be answered: null is read as not there, and a header that no document names is no mistake.
FLAGS = ("--phases", "examples,coverage,fuzzing", "--no-color")
LEFT_OUT = "positive_data_acceptance,negative_data_rejection"


def tried(document: Path, running: Server, *flags: str) -> None:
    """Let schemathesis try a server by a document; what it says is shown where it finds something."""
    told = ["run", str(document), "--url", f"http://{running.http}", "-n", "3", "--seed", "1", *FLAGS, *flags]
    command = [Path(sys.executable).with_name("schemathesis"), *told]
    done = subprocess.run(command, cwd=document.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_by_the_protocols_own_document(plain: Server, protocol: Path, tmp_path: Path) -> None:
    document = write(tmp_path / "protocol.json", corrected(protocol, "one", "1"))
    tried(document, plain, "--exclude-checks", LEFT_OUT.partition(",")[0])


def test_by_the_document_it_serves(plain: Server, tmp_path: Path) -> None:
    with urllib.request.urlopen(f"http://{plain.http}/openapi.json", timeout=10) as answer:
        document = write(tmp_path / "own.json", json.load(answer))
    tried(document, plain, "--exclude-checks", LEFT_OUT, "--exclude-path-regex", "/models/(all|plain)")


def test_the_document_is_corrected(protocol: Path) -> None:
    paths = corrected(protocol, "fraud", "7")["paths"]
    assert not any("$" in path or path.endswith("/") for path in paths)
    infer = paths["/v2/models/{MODEL_NAME}/infer"]
    assert [parameter["schema"]["enum"] for parameter in infer["parameters"]] == [["fraud"]]
    assert "4XX" in infer["post"]["responses"]


@pytest.mark.parametrize("place", ["nowhere", ""])
def test_where_the_document_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    from tests.conformance import specification

    monkeypatch.setenv("HEADRACE_SPECS", str(tmp_path / place))
    assert specification.found() is None
    (tmp_path / "open-inference").mkdir()
    (tmp_path / specification.NAME).write_text("{}")
    assert specification.found() == (None if place else tmp_path / specification.NAME)
