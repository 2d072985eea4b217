"""What the commands print: progress bars, one line of result per step, and refusals that say why."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from feature_pipelines.files import SourceError
from feature_pipelines.running import now_ms as now_ms
from headrace.application import Application, load_application
from headrace.features.columns import NO_TIME
from headrace.features.instants import epoch_ms
from headrace.features.rows import RowsError
from headrace.hopsworks.session_faults import HopsworksError
from headrace.stores.online import LayoutMismatch, StoreUnavailable

#: Refusals whose text is all a person needs; anything else is a fault and shows where it happened.
EXPECTED = (SourceError, RowsError, LayoutMismatch, StoreUnavailable, HopsworksError, ValueError)

Advance = Callable[[float], None]
#: In a notebook it writes text alone: bars would need widgets there.
console = Console(highlight=False, force_jupyter=False, force_terminal=False if "ipykernel" in sys.modules else None)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn expected refusals into one line on stderr and exit code 1."""
    try:
        yield
    except EXPECTED as refused:
        raise click.ClickException(str(refused)) from refused


TARGET = "headrace.application"


class _App(click.ParamType):
    name = "app"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Application:
        try:
            app = load_application(value)
        except ValueError as unknown:
            self.fail(str(unknown), param, ctx)
        if ctx is not None:
            ctx.meta[TARGET] = value
        return app


def target() -> str:
    """Return the name that the running command's application was given by, for processes that load it too."""
    name: str = click.get_current_context().meta[TARGET]
    return name


class _Instant(click.ParamType):
    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        at = epoch_ms(value if isinstance(value, int) or not value.lstrip("-").isdecimal() else int(value))
        if at == NO_TIME:
            self.fail(f"{value!r} is no instant, needs ISO 8601 or epoch milliseconds", param, ctx)
        return at


class _Directory(click.Path):
    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        scheme, sign, _ = str(value).partition("://")
        if sign:
            self.fail(f"it is a URL ({scheme}://), needs a directory on this machine", param, ctx)
        return super().convert(value, param, ctx)


APP = _App()
INSTANT = _Instant()
FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = _Directory()


class Step:
    """One step of a longer run: a bar while it goes, one line when it is done."""

    def __init__(self, title: str, bar: Progress, task: Any) -> None:
        self.result = ""
        self._title, self._bar, self._task = title, bar, task
        self._began = time.perf_counter()

    def total(self, total: float) -> None:
        """Say how much there is to do."""
        self._bar.update(self._task, total=total)

    def advance(self, amount: float = 1) -> None:
        """Say that so much more is done."""
        self._bar.advance(self._task, amount)

    def share(self, doing: str, share: float) -> None:
        """Say which share of the step is done, and what is being done."""
        self._bar.update(self._task, total=1.0, completed=share, description=f"{self._title}: {doing}")

    @property
    def seconds(self) -> float:
        """How long the step has taken."""
        return time.perf_counter() - self._began


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Show a step's progress, then its result; a step that fails says so and raises."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    with bar:
        doing = Step(title, bar, bar.add_task(title, total=None))
        try:
            yield doing
        except BaseException:
            bar.stop()
            console.print(f"[red]failed[/red] {title} after {doing.seconds:.1f} s", soft_wrap=True)
            raise
    console.print(f"[green]done[/green]   {title}: {doing.result} [dim]({doing.seconds:.1f} s)[/dim]", soft_wrap=True)
