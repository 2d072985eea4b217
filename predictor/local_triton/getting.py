"""What Triton needs on this machine: the server out of its wheel, a Python, and packages for its models.

Both come by pip, each file with its SHA-256 pinned, into the cache. The server is that of
the wheel nvidia-pytriton 0.7.0: Triton 2.51.0 with the backend `python` alone. Models run
in Triton's own Python processes, whose NumPy must be older than 2: with a newer one Triton
reads wrong values and says nothing. They have packages of their own, therefore.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from predictor.local_triton.cache import made

VERSION = "2.51.0"
WHEEL = (
    "nvidia-pytriton==0.7.0 --hash=sha256:21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    "nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl",
)
GLIBC = (2, 35)
_NEEDED = ("pytriton/tritonserver/", "nvidia_pytriton.libs/")  # the libraries are found from the server's place
#: Pythons that both Triton's stubs and the packages of the models are made for.
PYTHONS = ("3.11", "3.12")
PACKAGES = Path(__file__).with_name("packages.txt")

AGE = (
    f"Triton {VERSION} is from 2024 and lacks later security fixes: it is for laptops and CI, on loopback only, "
    "never for an image; production pins NVIDIA's image, 26.04 or newer"
)


class TritonMissing(Exception):
    """Triton cannot run here; the text says what was found, what is needed and how to get it."""


@dataclass(frozen=True, slots=True)
class Python:
    """A Python that can be embedded: its minor version, the folder of its library, and its home."""

    version: str
    library: Path
    home: Path


@dataclass(frozen=True, slots=True)
class Installed:
    """What is needed to start: the server's folder, the packages of its models, and their Python."""

    server: Path
    packages: Path
    python: Python


def get(cache: Path, say: Callable[[str], None] = lambda _: None) -> Installed:
    """Return what is in the cache, fetched first where it is not; `say` is told what is being fetched.

    Raises TritonMissing.
    """
    python = fit()
    tag, locked = python.version.replace(".", ""), hashlib.sha256(PACKAGES.read_bytes()).hexdigest()[:8]

    def server(into: Path) -> None:
        say(f"Triton {VERSION}, 55 MB")
        unpack(_downloaded(into), into, python.version)

    def packages(into: Path) -> None:
        say("packages for its models, 35 MB")
        _pip("install", "--target", str(into), "--python-version", python.version, "--requirement", str(PACKAGES))

    return Installed(
        made(cache / f"triton-{VERSION}-py{tag}", server) / "pytriton" / "tritonserver",
        made(cache / f"triton-models-py{tag}-{locked}", packages),
        python,
    )


def fit() -> Python:
    """Return the Python that Triton would run models with on this machine; raises TritonMissing where it cannot run."""
    _check_machine()
    return find_python()


def find_python(candidates: Iterator[Python] | None = None) -> Python:
    """Return the first Python whose library and whose own modules are there; raises TritonMissing."""
    for python in candidates or _candidates():
        library = python.library / f"libpython{python.version}.so.1.0"
        if library.is_file() and (python.home / "lib" / f"python{python.version}" / "os.py").is_file():
            return python
    wanted = " or ".join(f"libpython{version}.so.1.0" for version in PYTHONS)
    raise TritonMissing(
        f"{wanted} was found neither beside this Python nor in the system, Triton runs models with it: "
        "on Debian install libpython3.11, elsewhere a Python 3.11 built with its shared library"
    )


def unpack(wheel: Path, into: Path, python: str) -> None:
    """Unpack the server and remove the wheel; what is run is made executable, the stub for `python` put in place."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into, [name for name in archive.namelist() if name.startswith(_NEEDED)])
    wheel.unlink()
    server = into / "pytriton" / "tritonserver"
    stub = server / "backends" / "python" / "triton_python_backend_stub"
    (server / "python_backend_stubs" / python / stub.name).replace(stub)
    for program in (server / "bin" / "tritonserver", stub):
        program.chmod(0o755)  # which an archive of this kind does not keep


def _candidates() -> Iterator[Python]:
    base = Path(sys.base_prefix)
    folders = (Path(sysconfig.get_config_var("LIBDIR") or base / "lib"), base / "lib")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own in PYTHONS:
        yield from (Python(own, folder, base) for folder in folders)
    for version in PYTHONS:
        for home in (Path("/usr"), Path("/usr/local")):
            yield from (Python(version, home / lib, home) for lib in ("lib/x86_64-linux-gnu", "lib64", "lib"))


def _check_machine() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise TritonMissing(
            f"this is {platform.system()} on {platform.machine()}, Triton's wheel needs Linux on x86_64"
        )
    name, found = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in found.split(".")[:2]) < GLIBC:
        raise TritonMissing(f"the C library is {name or 'unknown'} {found}, Triton's wheel needs glibc 2.35 or newer")


def _downloaded(into: Path) -> Path:
    wanted, name = WHEEL
    locked = into / "wheel.txt"
    locked.write_text(wanted)
    _pip("download", "--dest", str(into), "--requirement", str(locked))
    locked.unlink()
    return into / name


def _pip(command: str, *arguments: str) -> None:
    always = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary", ":all:")
    told = [sys.executable, "-m", "pip", command, *always, "--require-hashes", *arguments]
    done = subprocess.run(told, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        said = lines[0] if lines else f"it ended with code {done.returncode}"
        raise TritonMissing(f"pip could not {command} what Triton needs, needs a package index once: {said}")
