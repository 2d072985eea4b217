"""What an image is built from: a clean Dockerfile, and locks that satisfy the project and hold what was tested."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = sorted(path.stem for path in LOCKS.glob("*.txt"))
EXTRAS = [name for name in NAMES if name not in ("build", "serving")]


def lock(name):
    """Return a lock's packages with their versions; each must have hashes, and be named exactly."""
    found = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", (LOCKS / f"{name}.txt").read_text())[1:]:
        said, *hashes = block.replace("\\\n", " ").split("--hash=")
        requirement = Requirement(said.strip())
        assert hashes, f"{requirement.name} has no hashes"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in hashes)
        (exact,) = requirement.specifier
        assert exact.operator == "=="
        found[canonicalize_name(requirement.name)] = exact.version
    return found


def needed(wanted, here):
    """Return what the requirements need on this machine, directly and through others, each with who asks for it."""
    left, found = [(Requirement(one), "headrace") for one in wanted], {}
    while left:
        requirement, asked_by = left.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in here.get(asked_by, {""})
        ):
            continue
        known, extras = found.setdefault(name, []), here.setdefault(name, {""})
        new = requirement.extras - extras
        extras |= requirement.extras
        if not known or new:
            with suppress(PackageNotFoundError):  # what is not installed here is looked at no further
                left += [(Requirement(one), name) for one in requires(name) or ()]
        known.append((requirement.specifier, asked_by))
    return found


def checked(extras, locked):
    wanted = [*PROJECT["dependencies"], *(one for name in extras for one in PROJECT["optional-dependencies"][name])]
    for name, asked in needed([one for one in wanted if not one.startswith("headrace")], {}).items():
        assert name in locked, f"{asked[0][1]} needs {name}, which no lock holds: run `make lock`"
        for specifier, asked_by in asked:
            assert specifier.contains(locked[name], prereleases=True), f"{asked_by} needs {name}{specifier}"


def test_the_dockerfile_is_clean():
    linter = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout


def test_the_locks_hold_the_versions_that_were_tested():
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    tested = {canonicalize_name(name): version for name, version in pinned}
    for name in NAMES:
        for package, version in lock(name).items():
            assert tested.get(package, version) == version, f"{name}.txt has {package} {version}: run `make lock`"


def test_serving_has_all_that_the_project_needs():
    checked((), lock("serving"))


@pytest.mark.parametrize("extra", EXTRAS)
def test_serving_and_an_extras_lock_have_all_that_the_extra_needs(extra):
    assert extra in PROJECT["optional-dependencies"]
    added, serving = lock(extra), lock("serving")
    assert added.keys().isdisjoint(serving)
    checked((extra,), {**serving, **added})


def test_the_locks_of_extras_agree_where_they_meet():
    together = {}
    for name in NAMES:
        for package, version in lock(name).items():
            assert together.setdefault(package, version) == version


def test_the_build_context_holds_what_the_dockerfile_copies():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for line in copied for name in line.split()} == shown
    assert all((ROOT / name).exists() for name in shown)
