"""The `headrace` command: what a person types to run, fill, ask and check Headrace."""

from __future__ import annotations

import importlib

import click

import headrace

#: Each command and the module that holds it; imported only when it is run.
COMMANDS = {
    "demo": "headrace.cli.demo",
    "up": "headrace.cli.up",
    "pipeline": "headrace.cli.pipeline",
    "backfill": "headrace.cli.backfill",
    "train": "headrace.cli.train",
    "model": "headrace.cli.model",
    "triton": "headrace.cli.triton",
    "features": "headrace.cli.features",
    "explain": "headrace.cli.explain",
    "hopsworks": "headrace.cli.hopsworks",
    "manifests": "headrace.cli.manifests",
    "bench": "headrace.cli.bench",
    "conformance": "headrace.cli.conformance",
    "compile": "headrace.cli.compile",
    "doctor": "headrace.cli.doctor",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name]).command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(headrace.__version__, prog_name="headrace")
def main() -> None:
    """Fresh features for a model: the same value in the stream, in training and at request time.

    Start with `headrace demo fraud`, which runs the whole channel on this machine.
    """
