"""`python -m tests.manifests`: write the golden renders anew, and say which changed."""

from __future__ import annotations

import sys

from headrace.manifests.kubectl import fetch_kubectl
from tests.manifests.golden import GOLDEN, goldens


def main() -> None:
    """Write what differs, and remove what nothing renders to any more."""
    fetch_kubectl()
    files = goldens()
    for path, text in files.items():
        if not path.is_file() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            sys.stdout.write(f"wrote {path.relative_to(GOLDEN)}\n")
    for path in set(GOLDEN.rglob("*.yaml")) - set(files):
        path.unlink()
        sys.stdout.write(f"removed {path.relative_to(GOLDEN)}\n")


if __name__ == "__main__":
    main()
