"""`python -m transformer`: serve an application; flags as KServe's controller passes them."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import fields

import uvloop

from headrace.open_inference.server import PortTaken
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
        settings = read_settings(TransformerSettings, flags, os.environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except (SettingsError, ValueError, PortTaken) as wrong:
        print(f"the transformer did not start: {wrong}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
