"""Processes of an image without a container runtime: its root file system, read-only, and the user that it names.

Linux alone: a mount namespace, a bind mount of the image that cannot be written, a tmpfs at /tmp, and one folder of
the host's at /mnt, the only place that lasts. Needs root, as buildah does here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILDAH = ("buildah", "--storage-driver", "vfs")
SHARED = "/mnt"
_ENTER = """
set -e
root=$1 shared=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$shared" "$root/mnt"
cd "$root"
exec setpriv --no-new-privs --inh-caps=-all chroot --userspec="$user" "$root" env --chdir=/tmp -i "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose files are mounted at `root`; `environment` and `user` are what it says of itself."""

    root: Path
    environment: tuple[str, ...]
    user: str

    def command(self, shared: Path, arguments: Sequence[str]) -> list[str]:
        """Return the host's command that runs `arguments` in the image, with a folder of the host's at /mnt."""
        entered = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh"]
        return [*entered, str(self.root), str(shared), self.user, *self.environment, *arguments]

    def run(self, shared: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = self.command(shared, arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    @contextmanager
    def server(self, shared: Path, *arguments: str) -> Iterator[str]:
        """Run a server until the block ends; gives the address of its REST port. It must leave in order."""
        log = shared / f"{arguments[2]}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(self.command(shared, arguments), stdout=subprocess.PIPE, stderr=said, text=True)
        assert process.stdout
        try:
            listening = next((line.split() for line in process.stdout if line.startswith("listening ")), None)
            assert listening, log.read_text()[-2000:]
            yield listening[1].partition("=")[2]
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0, log.read_text()[-2000:]


@contextmanager
def mounted(name: str) -> Iterator[Image]:
    """Mount a built image until the block ends."""
    container = _buildah("from", "--pull-never", name)
    try:
        config: dict[str, Any] = json.loads(_buildah("inspect", container))["OCIv1"]["config"]
        root = Path(_buildah("mount", container))
        yield Image(root, tuple(config["Env"]), config["User"])
        _buildah("umount", container)
    finally:
        _buildah("rm", container)


def _buildah(*arguments: str) -> str:
    return subprocess.run([*BUILDAH, *arguments], capture_output=True, text=True, check=True).stdout.strip()
