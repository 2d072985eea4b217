"""Write requirements/*.txt: what an image installs, each package by its version and the hashes of its files.

serving.txt is what every image needs; the others hold what one extra adds to it. The versions are those of
constraints.txt, so that an image runs what the tests ran. `make lock` runs this after either file has changed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
#: The extras that an image may be built with.
EXTRAS = ("backfill", "hopsworks", "kafka", "signing", "spark", "tracing")
HEADER = "# {what}. Written by `make lock`.\n"
_BLOCK = re.compile(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Write every lock anew."""
    LOCKS.mkdir(exist_ok=True)
    serving = compiled()
    write("serving", "What every image installs", serving)
    for extra in EXTRAS:
        added = compiled("--extra", extra)
        write(extra, f"What the extra {extra} adds to serving.txt", [one for one in added if one not in serving])
    (LOCKS / "build.in").write_text("setuptools\n")
    write("build", "What the package itself is built with", compiled(source="requirements/build.in"))
    (LOCKS / "build.in").unlink()


def compiled(*options: str, source: str = "pyproject.toml") -> list[str]:
    """Return the packages that uv resolves to, each with its hashes."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", source, "--quiet", "--universal"]
    command += ["--python-version", "3.11", "--constraint", "constraints.txt", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", *options]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"{source} cannot be resolved: {answer.stderr.strip()}")
    return _BLOCK.findall(answer.stdout)


def write(name: str, what: str, packages: list[str]) -> None:
    """Write one lock."""
    (LOCKS / f"{name}.txt").write_text(HEADER.format(what=what) + "".join(packages))


if __name__ == "__main__":
    main()
