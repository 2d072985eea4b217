"""What Triton needs is made whole or not at all, and what cannot be had is said with what is needed."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from headrace.cache_folder import cache_folder
from predictor.local_triton import getting
from predictor.local_triton.cache import made
from predictor.local_triton.getting import PACKAGES, WHEEL, Python, TritonMissing, find_python, get, unpack

ROOT = Path(__file__).parents[3]


def fill(folder: Path) -> None:
    (folder / "content").write_text("whole")


def test_the_cache_lies_where_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder({}) == tmp_path / ".cache" / "headrace"
    assert cache_folder({"XDG_CACHE_HOME": "/var/c"}) == Path("/var/c/headrace")
    assert cache_folder({"XDG_CACHE_HOME": "/var/c", "HEADRACE_CACHE": "/srv/kept"}) == Path("/srv/kept")


def test_a_folder_is_made_once_however_many_ask(tmp_path: Path) -> None:
    times, begin = [], threading.Barrier(4)

    def make(folder: Path) -> None:
        times.append(folder)
        fill(folder)

    def ask() -> None:
        begin.wait()
        assert (made(tmp_path / "kept", make) / "content").read_text() == "whole"

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(times) == 1


def test_a_folder_that_cannot_be_filled_is_not_there(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise TritonMissing("no")

    with pytest.raises(TritonMissing, match="no"):
        made(tmp_path / "kept", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".kept.lock"]


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    fill_half = tmp_path / ".kept.abc.new"
    fill_half.mkdir()
    fill(fill_half)
    made(tmp_path / "kept", fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".kept.lock", "kept"]


def python_at(folder: Path, version: str = "3.11") -> Python:
    (folder / "lib" / f"python{version}").mkdir(parents=True)
    (folder / "lib" / f"python{version}" / "os.py").touch()
    (folder / "lib" / f"libpython{version}.so.1.0").touch()
    return Python(version, folder / "lib", folder)


def test_a_python_has_its_library_and_its_modules(tmp_path: Path) -> None:
    whole = python_at(tmp_path / "whole", "3.12")
    unshared, bare = python_at(tmp_path / "unshared"), python_at(tmp_path / "bare")
    (unshared.library / "libpython3.11.so.1.0").unlink()
    (bare.home / "lib" / "python3.11" / "os.py").unlink()
    assert find_python(iter([unshared, bare, whole])) == whole


def test_without_a_shared_python_it_says_what_to_install(tmp_path: Path) -> None:
    unshared = python_at(tmp_path)
    (unshared.library / "libpython3.11.so.1.0").unlink()
    with pytest.raises(TritonMissing) as refused:
        find_python(iter([unshared]))
    assert str(refused.value).startswith("libpython3.11.so.1.0 or libpython3.12.so.1.0 was found neither beside this")
    assert "on Debian install libpython3.11" in str(refused.value)


@pytest.mark.parametrize(
    ("system", "machine", "library", "said"),
    [
        ("Darwin", "arm64", ("", ""), "this is Darwin on arm64, Triton's wheel needs Linux on x86_64"),
        ("Linux", "aarch64", ("glibc", "2.36"), "this is Linux on aarch64"),
        ("Linux", "x86_64", ("glibc", "2.31"), "the C library is glibc 2.31, Triton's wheel needs glibc 2.35 or newer"),
        ("Linux", "x86_64", ("", ""), "the C library is unknown"),
    ],
)
def test_a_machine_that_it_is_not_built_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, machine: str, library: tuple[str, str], said: str
) -> None:
    monkeypatch.setattr(getting.platform, "system", lambda: system)
    monkeypatch.setattr(getting.platform, "machine", lambda: machine)
    monkeypatch.setattr(getting.platform, "libc_ver", lambda: library)
    with pytest.raises(TritonMissing, match=said):
        get(tmp_path)


def test_without_a_package_index_it_says_what_pip_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = python_at(tmp_path / "python")
    monkeypatch.setattr(getting, "find_python", lambda: python)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(
        TritonMissing, match=r"pip could not download what Triton needs, needs a package index once: .*pytr"
    ):
        get(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("[!.]*"))


def test_another_wheel_than_the_one_that_is_named_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / WHEEL[1], "w") as wheel:
        wheel.writestr("nvidia_pytriton-0.7.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nvidia-pytriton\n")
    python = python_at(tmp_path / "python")
    monkeypatch.setattr(getting, "find_python", lambda: python)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    with pytest.raises(TritonMissing, match="HASH"):
        get(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("[!.]*"))


def test_the_server_is_unpacked_to_be_run(tmp_path: Path) -> None:
    wheel, top = tmp_path / "it.whl", "pytriton/tritonserver"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{top}/bin/tritonserver", "server")
        archive.writestr(f"{top}/backends/python/libtriton_python.so", "backend")
        for version in ("3.11", "3.12"):
            archive.writestr(f"{top}/python_backend_stubs/{version}/triton_python_backend_stub", version)
        archive.writestr("pytriton/client.py", "not the server")
    unpack(wheel, tmp_path, "3.12")
    stub = tmp_path / top / "backends" / "python" / "triton_python_backend_stub"
    assert stub.read_text() == "3.12"
    for program in (tmp_path / top / "bin" / "tritonserver", stub):
        assert program.stat().st_mode & 0o777 == 0o755
    assert not wheel.exists()
    assert not (tmp_path / "pytriton" / "client.py").exists()


def test_every_package_of_the_models_is_pinned_by_its_content() -> None:
    lines = [line for line in PACKAGES.read_text().splitlines() if not line.startswith("#")]
    assert all("==" in line and "--hash=sha256:" in line for line in lines)
    (numpy,) = (line for line in lines if line.startswith("numpy=="))
    assert numpy.startswith("numpy==1.")


def test_the_command_says_why_it_cannot_be_had(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headrace.cli", "triton", "get", "--cache", str(tmp_path)]
    nowhere = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "PIP_NO_INDEX": "1", "COLUMNS": "200"}
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "needs" in done.stderr
    assert "Traceback" not in done.stderr
