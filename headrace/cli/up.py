"""`headrace up`: predictor and transformer on this machine, and pipelines that feed them, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from headrace.application import Application
from headrace.cli.broker import local_broker
from headrace.cli.console import APP as APPLICATION
from headrace.cli.console import DIRECTORY, console, refusals, target
from headrace.cli.stack import Worker, not_ready, stack, terminated, worker
from headrace.cli.triton import in_predictor, prepare


@click.command("up")
@click.argument("app", type=APPLICATION)
@click.option("--store", type=DIRECTORY, help="The online store (the demo's by default).")
@click.option("--models", type=DIRECTORY, help="The model repository (the demo's by default).")
@click.option("--http-port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 is any free port.")
@click.option("--grpc-port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="0 is any free port.")
@in_predictor
@click.option(
    "--stream",
    metavar="local|HOST:PORT",
    help="Also run the pipelines, from the topics of a broker; local starts one here (noida-db).",
)
def command(
    app: Application,
    store: Path | None,
    models: Path | None,
    http_port: int,
    grpc_port: int,
    predictor: str,
    stream: str | None,
) -> None:
    """Serve APP on loopback: a predictor, and a transformer in front of it; with --stream pipelines behind it."""
    home = Path(".headrace") / app.name
    store, models = store or home / "store", models or home / "models"
    for what, path in (("store", store), ("model repository", models)):
        if not path.is_dir() and not (stream and path is store):  # which its pipelines make
            first = f"`headrace demo {app.name}`" if app.data else "`headrace pipeline run` and `headrace train`"
            raise click.ClickException(f"there is no {what} at {path}: run {first} first, or name one")
    try:
        with terminated(), refusals(), ExitStack() as running:
            prepare(predictor)
            # The pipelines first: they make the groups of a store that is read.
            workers = running.enter_context(pipelines(app, stream, store, home)) if stream else []
            ports, ready = (http_port, grpc_port), not stream
            places = models, store, home / "logs"
            more = {"predictor": predictor, "predictions": home / "predictions"}
            asked, transformer = running.enter_context(
                stack(target(), app.name, *places, *ports, ready=ready, **more)  # type: ignore[arg-type]
            )
            console.print(f"transformer  http {transformer.http}  grpc {transformer.grpc}")
            console.print(f"predictor    http {asked.http}  grpc {asked.grpc}")
            console.print(f"predictions  {home / 'predictions'}: headrace explain REQUEST_ID")
            console.print(f"logs         {home / 'logs'}; Ctrl-C stops all")
            said = ""
            while True:
                for worker in (transformer, asked, *workers):
                    worker.check()
                if stream and said != (now := not_ready(transformer) or "ready"):
                    console.print(f"transformer  {now if now == 'ready' else f'not ready yet: {now}'}", soft_wrap=True)
                    said = now
                time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopped")


@contextmanager
def pipelines(app: Application, stream: str, store: Path, home: Path) -> Iterator[list[Worker]]:
    """Run a pipeline for each stream of an application, from the topics of its name, until the block ends.

    `stream` is a broker's `host:port`, or `local` for one of our own with its topics in `home`.
    """
    from feature_pipelines.kafka import KafkaAddress, create_topic

    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as running:
        servers = running.enter_context(local_broker(home / "broker")) if stream == "local" else stream
        workers = []
        for topic in (declared.name for declared in app.streams):
            address = f"kafka://{servers}/{topic}"
            if stream == "local":
                create_topic(KafkaAddress.of(address))
            run = ["-m", "headrace.cli", "pipeline", "run", target(), "--topic", topic, "--source", address]
            if stream == "local":  # whose broker goes on counting members that were killed
                run += ["--group", ""]
            workers.append(running.enter_context(worker(f"pipeline-{topic}", [*run, "--store", str(store)], logs)))
            console.print(f"pipeline     {address}")
        yield workers
