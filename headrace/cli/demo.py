"""`headrace demo`: the whole channel on this machine, from events to answers, and how good it is."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.duplicates import counted_once
from feature_pipelines.events import texts
from feature_pipelines.files import as_numpy
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.application import Application
from headrace.cli.cluster import TakenIn, cluster, mirrored
from headrace.cli.console import APP, DIRECTORY, FILE, console, now_ms, refusals, step, target
from headrace.cli.report import Report, curl, print_report
from headrace.cli.split import Split
from headrace.cli.stack import Server, stack, terminated
from headrace.cli.training import train_and_publish
from headrace.cli.triton import in_predictor, prepare
from headrace.features.columns import DAY
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.offline import TrainingFrame, training_frame
from headrace.stores.online import WritableStore

if TYPE_CHECKING:
    from headrace.cli.replay import Client

MARKER = ".headrace-demo"  # says that a folder's contents are a demo's to remove
Events = dict[str, dict[str, np.ndarray]]


@click.command("demo")
@click.argument("app", type=APP)
@click.option("--data", type=FILE, help="Your own payments (.csv or .parquet) instead of simulated ones.")
@click.option("--home", type=DIRECTORY, help="Where the demo keeps its files (.headrace/APP by default).")
@click.option("--json", "json_file", type=FILE, help="Also write the table as JSON.")
@click.option(
    "--store",
    type=click.Choice(["embedded", "hopsworks"]),
    default="embedded",
    show_default=True,
    help="Where features are read: hopsworks is the cluster that HOPSWORKS_HOST names, or a stand-in.",
)
@in_predictor
@click.option("--keep", is_flag=True, help="Leave the servers running and print a line to ask them.")
def command(
    app: Application,
    data: Path | None,
    home: Path | None,
    json_file: Path | None,
    store: str,
    predictor: str,
    keep: bool,
) -> None:
    """Run APP's whole channel: payments, store, training, servers, replay; then one table.

    It ends by itself, stops what it started, and exits non-zero if a step failed.
    """
    home = home or default_home(app)
    if json_file and not json_file.parent.is_dir():
        raise click.ClickException(f"there is no folder {str(json_file.parent)!r} to write {json_file.name!r} to")
    demo = Demo(app, home, data, store == "hopsworks", predictor)
    with refusals(), terminated(), demo.running(keep) as report:
        print_report(report)
        if json_file:
            json_file.write_bytes(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2))
            console.print(f"written to {json_file}")


@dataclass(slots=True)
class Demo:
    """The demo's steps in order, and what each leaves for the next."""

    app: Application
    home: Path
    data: Path | None
    in_hopsworks: bool = False
    predictor: str = "onnxruntime"
    url: str = ""  # of the store in Hopsworks
    table: pa.Table = field(init=False)
    rows: dict[str, np.ndarray] = field(init=False)
    split: Split = field(init=False)
    events: Events = field(init=False)
    store: WritableStore = field(init=False)
    pipelines: dict[str, Pipeline] = field(init=False)
    frame: TrainingFrame = field(init=False)
    matrix: np.ndarray = field(init=False)
    report: Report = field(default_factory=Report)

    @contextmanager
    def running(self, keep: bool) -> Iterator[Report]:
        """Run every step; give the report while the servers still run, and wait for Ctrl-C if `keep`."""
        prepare(self.predictor)
        self.report.predictor = self.predictor
        self._clean()
        with ExitStack() as kept:
            if self.in_hopsworks:  # first, as a cluster that is named wrongly is known at once
                self.url = kept.enter_context(cluster(self.app, self.home))
            self.get_payments()
            self.stream_training_period(kept)
            self.build_frame()
            scores = self.train()
            _, transformer = kept.enter_context(self.serve(keep))
            taken_in = (
                kept.enter_context(closing(TakenIn(self.app, self.store, self.url))) if self.in_hopsworks else None
            )
            self.replay(transformer, scores, taken_in)
            yield self.report
            if keep:
                console.print(f"\nstill running, Ctrl-C stops it; logs in {self.home / 'logs'}\n")
                console.print(curl(self.app, transformer.http, self.table), soft_wrap=True)
                console.print(
                    "\nheadrace explain REQUEST_ID tells what an answer was made of; curl -i shows its x-request-id"
                )
                with suppress(KeyboardInterrupt):
                    signal.pause()

    def get_payments(self) -> None:
        """Read or simulate the payments, in order of time."""
        with step("payments") as doing:
            found = self.app.load("data")(self.data, self.home / "cache", doing.share)
            self.table = found.table
            self.rows = {name: as_numpy(self.table.column(name)) for name in self.table.column_names}
            labels, times = self.rows[self.app.label], self.rows[self.app.view.time]
            self.split = Split.of(self.app, times, labels)
            share, days = labels.mean(), (times[-1] - times[0]) / DAY
            doing.result = f"{labels.size:,} rows over {days:.0f} days, {share:.2%} {self.app.label}"
        for note in found.notes:
            console.print(f"       {note}", soft_wrap=True)

    def stream_training_period(self, kept: ExitStack) -> None:
        """Fold all that was known when the held-out time began into an empty store."""
        total = 0
        with step("stream the training period") as doing:
            store: WritableStore = EmbeddedStore(self.home / "store", durable=False)
            if self.in_hopsworks:
                store = kept.enter_context(mirrored(store, self.app))
            self.store = store
            self.pipelines = {s.name: self._pipeline(s.name, store) for s in self.app.streams}
            until = {name: self._known(name, self.split.at_ms - 1) for name in self.pipelines}
            doing.total(sum(until.values()))
            for name, pipeline in self.pipelines.items():
                pipeline.start()
                pipeline.run_to(until[name], doing.advance)
                total += pipeline.report.events
            self.report.events_per_second = total / doing.seconds
            keys = ", ".join(f"{store.size(group):,} {group.key}" for group in self.app.groups)
            doing.result = f"{total:,} events, {self.report.events_per_second:,.0f}/s, {keys}"

    def build_frame(self) -> None:
        """Compute every row's features from history, point-in-time correct."""
        with step("build the training frame") as doing:
            doing.total(self.table.num_rows)
            view = self.app.view
            spine = {name: self.rows[name] for name in view.request_names if name in self.rows}
            self.frame = training_frame(view, spine, self._history(), progress=doing.advance)
            self.matrix = self.frame.matrix()
            doing.result = f"{self.matrix.shape[0]:,} rows of {self.matrix.shape[1]} features"

    def train(self) -> dict[str, np.ndarray]:
        """Train and export the model; return the held-out scores of what it is compared with."""
        app, part, held = self.app, self.split.train, slice(self.split.held, None)
        matrix, labels = self.matrix[part], self.rows[app.label][part]
        times, entities = self.rows[app.view.time][part], self.rows[app.groups[0].key][part]
        with step("train and export the model") as doing:
            _, self.report.onnx_parity = train_and_publish(
                app, matrix, labels, times, entities, self.home / "models", doing
            )
        scores: dict[str, np.ndarray] = {}
        with step("train what it is compared with") as doing:
            doing.total(1 + len(app.ablations))
            scores["baseline"] = app.load("baseline")(matrix, labels).predict_proba(self.matrix[held])[:, 1]
            doing.advance()
            for name, dropped in app.ablations.items():
                view = app.view.without(dropped)
                kept = [at for at, column in enumerate(app.view.names) if column in view.names]
                less = app.load("train")(view, np.ascontiguousarray(matrix[:, kept]), labels, times, entities)
                scores[name] = less.score(self.matrix[held][:, kept])
                doing.advance()
            doing.result = ", ".join(scores)
        return scores

    @contextmanager
    def serve(self, keep: bool) -> Iterator[tuple[Server, Server]]:
        """Run predictor and transformer as processes of their own; where they are kept, answers are logged too."""
        with step("start predictor and transformer") as doing:
            store = self.url or str(self.home / "store")
            models, logs = self.home / "models", self.home / "logs"
            more = {"predictor": self.predictor, "predictions": self.home / "predictions" if keep else None}
            running = stack(target(), self.app.name, models, store, logs, **more)  # type: ignore[arg-type]
            predictor, transformer = running.__enter__()
            doing.result = f"http {transformer.http}, grpc {transformer.grpc}"
        try:
            yield predictor, transformer
        finally:
            running.__exit__(None, None, None)

    def replay(self, transformer: Server, scores: dict[str, np.ndarray], taken_in: TakenIn | None = None) -> None:
        """Ask for each held-out row, then stream it; measure what came back."""
        from headrace.cli.replay import GrpcClient, HttpClient, replay

        app, held = self.app, slice(self.split.held, None)
        numbers = [column.name for column in app.view.request if column.dtype != "string" and column.name in self.rows]
        rows = {name: _sendable(self.rows[name][held]) for name in numbers}
        clients: list[tuple[str, Client]] = [
            ("http json", HttpClient(transformer.http, app.name, binary=False)),
            ("http binary", HttpClient(transformer.http, app.name, binary=True)),
            ("grpc", GrpcClient(transformer.grpc, app.name)),
        ]
        times = self.rows[app.view.time]
        label_stream = self.pipelines[app.label_stream]
        own = self.pipelines[app.streams[0].name]

        def before(start: int, end: int) -> None:
            label_stream.run_to(self._known(label_stream.stream.name, times[held][end - 1]))
            if taken_in:
                taken_in.wait({name: values[start:end] for name, values in rows.items()}, times[held][start:end])

        with step("replay the held-out period") as doing:
            doing.total(times.size - self.split.held)
            replayed = replay(
                app.view,
                rows,
                self.rows[app.groups[0].key][held],
                clients,
                app.outputs[0].name,
                before=before,
                after=lambda end: own.run_to(self.split.held + end),
                on_rows=doing.advance,
            )
            self.report.measure(app, self.rows, self.split, {"model": replayed.scores, **scores})
            self.report.compare(replayed, self.matrix[held])
            doing.result = f"{replayed.scores.size:,} rows asked for, then streamed; {self.report.parity_said()}"

    def _pipeline(self, name: str, store: WritableStore) -> Pipeline:
        """Write a stream's events to a file, as a topic would hold them, and read it back."""
        path, stream = self.home / f"{name}.parquet", self.app.stream(name)
        pq.write_table(self.table.select([c for c in stream.names if c in self.table.column_names]), path)
        letters = DeadLetterFile.beside(self.home / "store", name)
        return Pipeline(stream, self.app.groups_of(name), FileSource(path, stream), store, letters, now_ms)

    def _known(self, stream: str, at_ms: int) -> int:
        """Return how many events of a stream have arrived at an instant; labels arrive after their delay."""
        delay = self.app.label_delay_ms if stream == self.app.label_stream else 0
        return int(np.searchsorted(self.rows[self.app.view.time], at_ms - delay, side="right"))

    def _history(self) -> Events:
        columns = {name: values for name, values in self.rows.items() if values.dtype != object}
        history = {}
        for stream in self.app.streams:
            named = {stream.id: texts(self.rows[stream.id], self.table.num_rows)} if stream.id in self.rows else {}
            history[stream.name] = counted_once(stream, {**columns, **named}) if named else columns
        return history

    def _clean(self) -> None:
        """Remove what an earlier demo left; refuse a folder that is not a demo's."""
        marker = self.home / MARKER
        if (
            self.home.exists()
            and any(self.home.iterdir())
            and not marker.exists()
            and self.home != default_home(self.app)
        ):
            raise ValueError(f"{str(self.home)!r} holds files that no demo made, needs an empty or a new folder")
        streams = [self.home / f"{stream.name}.parquet" for stream in self.app.streams]
        if self.data is not None and self.data.resolve() in [path.resolve() for path in streams]:
            raise ValueError(f"the demo would write over {self.data.name!r} in its own folder, needs it elsewhere")
        left = [name for name in ("store", "models", "logs", "predictions") if (self.home / name).exists()]
        if left:
            console.print(f"replaces the {', '.join(left)} of an earlier run in {self.home}", soft_wrap=True)
        for name in left:
            shutil.rmtree(self.home / name, ignore_errors=True)
        self.home.mkdir(parents=True, exist_ok=True)
        marker.touch()


def default_home(app: Application) -> Path:
    """Return where a demo keeps its files unless told otherwise."""
    return Path(".headrace") / app.name


def _sendable(values: np.ndarray) -> np.ndarray:
    """Return numbers where a column holds Python objects, because of its nulls."""
    return values.astype(np.float64) if values.dtype == object else values
