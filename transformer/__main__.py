"""`python -m transformer`: serve an application; flags as KServe's controller passes them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import closing
from dataclasses import replace

import uvloop

from headrace.cores import as_cores_allow, cores
from headrace.open_inference.serving.listening import GRACE_S, PortTaken
from headrace.open_inference.serving.member import VARIABLE
from headrace.open_inference.serving.workers import serve_with
from headrace.settings import SettingsError, TransformerSettings, described, read_settings


def main() -> int:
    """Serve until told to stop; return 2 where the settings or the address cannot be used."""
    flags = sys.argv[1:]
    if "--help" in flags or "-h" in flags:
        print("python -m transformer: serve an application's features in front of its model\n")
        print("Each setting with its default; also as HEADRACE_NAME, or in the TOML file named by HEADRACE_SETTINGS:\n")
        print(described(TransformerSettings))
        return 0
    sys.argv = sys.argv[:1]  # kserve reads the flags of whoever imports it
    try:
        settings = read_settings(TransformerSettings, flags, os.environ)
        if VARIABLE not in os.environ and settings.workers > 1:
            settings = replace(settings, workers=as_cores_allow(settings.workers, cores()))
            if settings.workers > 1:
                return _with_workers(settings)
        from transformer.server import run

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except (SettingsError, ValueError, PortTaken) as wrong:
        print(f"the transformer did not start: {wrong}", file=sys.stderr)
        return 2
    return 0


def _with_workers(settings: TransformerSettings) -> int:
    from headrace.telemetry.logs import configure
    from headrace.telemetry.merging import counted

    with closing(configure(settings.log_format, settings.log_level)):
        return serve_with(
            settings.workers,
            host=settings.host,
            http_port=settings.http_port,
            grpc_port=settings.grpc_port,
            stop_s=settings.drain_s + GRACE_S + 5,
            flags=("--http_port", "--grpc_port"),
            lasting=counted,
        )


if __name__ == "__main__":
    sys.exit(main())
