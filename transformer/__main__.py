"""`python -m transformer`: serve an application; flags as KServe's controller passes them."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import fields

from headrace.open_inference.server import AddressTaken
from headrace.settings import SettingsError, TransformerSettings, read_settings


def main() -> int:
    """Serve until told to stop; return 2 where the settings or the address cannot be used."""
    flags = sys.argv[1:]
    if "--help" in flags or "-h" in flags:
        print("python -m transformer: serve an application's features in front of its model\n")
        print("\n".join(f"  --{field.name} (default {field.default!r})" for field in fields(TransformerSettings)))
        return 0
    sys.argv = sys.argv[:1]  # kserve reads the flags of whoever imports it
    from transformer.server import run

    try:
        asyncio.run(run(read_settings(TransformerSettings, flags, os.environ)))
    except (SettingsError, ValueError, AddressTaken) as wrong:
        print(f"the transformer did not start: {wrong}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
