"""Environments of the peers that cannot live beside us: `python -m benchmarks.environments [NAME ...]` makes them.

Each is a virtual environment in the cache folder (`HEADRACE_CACHE`, else `~/.cache/headrace`), with the newest versions
that the registry has; a benchmark whose peer's environment is not there says so and measures without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from headrace.cache_folder import cache_folder

#: What each environment is made of.
PACKAGES = {
    "bentoml": ("bentoml", "onnxruntime"),
    "feast": ("feast[redis]",),
    "litserve": ("litserve", "onnxruntime", "uvloop"),
    "mlserver": ("mlserver", "onnxruntime"),
    "ray": ("ray[serve]", "onnxruntime"),
}
MAKE = "python -m benchmarks.environments"


def python_of(name: str) -> Path | None:
    """Return the Python of an environment, None where it was not made."""
    found = _folder(name) / "bin/python"
    return found if found.exists() else None


def version_of(name: str) -> str:
    """Return the version of an environment's own package, such as `ray 2.60.0`."""
    python, package = python_of(name), PACKAGES[name][0].partition("[")[0]
    asked = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True)
    return f"{package} {done.stdout.strip()}"


def make(name: str) -> None:
    """Make an environment, or fill it again; raises CalledProcessError where a package does not install."""
    folder = _folder(name)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*install, *PACKAGES[name]], check=True)


def main(names: Sequence[str]) -> int:
    """Make the environments that are named, or all; return the exit code."""
    unknown = [name for name in names if name not in PACKAGES]
    if unknown:
        print(f"there is no environment {', '.join(unknown)}, needs one of {', '.join(PACKAGES)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or PACKAGES:
        began = time.monotonic()
        try:
            make(name)
        except subprocess.CalledProcessError as ended:
            failed.append(name)
            print(f"{name} was not made: the command ended with code {ended.returncode}", file=sys.stderr)
            continue
        print(f"{version_of(name)} in {_folder(name)}, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed else 0


def _folder(name: str) -> Path:
    return cache_folder(os.environ) / "benchmarks" / name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
