"""`headrace conformance`: what a server of the Open Inference Protocol does otherwise than the protocol says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from headrace.cli.console import FILE, console

_STYLES = {"pass": "green", "fail": "red", "not offered": "dim", "not judged": "yellow"}


@click.command("conformance")
@click.argument("url", required=False)
@click.option("--model", default="", help="The model's name; by default the first that the server lists.")
@click.option(
    "--grpc", default="", metavar="HOST:PORT", help="Where its gRPC service listens; without it REST alone is judged."
)
@click.option(
    "--request", type=FILE, help="A request in JSON that the model answers; by default one is made from its metadata."
)
@click.option("--json", "report", type=FILE, help="Write the report as JSON to this file; - is standard output.")
@click.option("--only", multiple=True, metavar="ID", help="Try this check alone, by id or name; may be given again.")
@click.option(
    "--except", "but", multiple=True, metavar="ID", help="Leave this check out, such as one that ends the server."
)
@click.option("--list", "listed", is_flag=True, help="List the checks and the rules they stand for.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1), default=10.0, help="Seconds to wait for an answer (10)."
)
def command(
    url: str | None,
    model: str,
    grpc: str,
    request: Path | None,
    report: Path | None,
    only: tuple[str, ...],
    but: tuple[str, ...],
    listed: bool,
    timeout_s: float,
) -> None:
    """Judge the v2 server at URL, such as http://127.0.0.1:8080, whoever wrote it.

    It is sent malformed requests too, and a few large ones: do not aim at a server that others use. Exit code 1 where a
    rule of the protocol itself is broken, 2 where that could not be judged.
    """
    from headrace.conformance.judge import chosen, judge
    from headrace.conformance.server import Server

    with _unjudged():
        checks = chosen(only, but)
        if listed:
            _list(checks)
            return
        if not url:
            raise ValueError("no server was named, needs a URL such as http://127.0.0.1:8080")
        server = Server(url, model=model, grpc=grpc, request=request, timeout_s=timeout_s)
        to_stdout = report is not None and str(report) == "-"
        said = judge(server, checks, (lambda result: None) if to_stdout else _print)
        if report is not None:
            _write(report, {"url": url, "model": server.model, **said.as_dict()})
    if not to_stdout:
        console.print(f"\n{server.model} at {url}: {said}", markup=False, soft_wrap=True)
    raise SystemExit(said.exit_code)


class _NotJudged(click.ClickException):
    exit_code = 2  # 1 means that there are findings


@contextmanager
def _unjudged() -> Iterator[None]:
    from headrace.conformance.http_wire import NoAnswer

    try:
        yield
    except (NoAnswer, ValueError, OSError) as wrong:
        raise _NotJudged(str(wrong)) from wrong


def _list(checks: Any) -> None:
    for check in checks:
        console.print(f"{check.id:9} {check.name:22} {check.level:9} {check.rule}", markup=False, soft_wrap=True)


def _print(result: Any) -> None:
    check = result.check
    console.print(f"{check.id:9} {check.name:22} {result.level:9} ", markup=False, soft_wrap=True, end="")
    console.print(result.outcome, style=_STYLES[result.outcome], markup=False, end="")
    console.print(f": {result.why}" if result.why else "", markup=False, soft_wrap=True)
    if result.outcome == "fail":
        for word, told in (("rule", check.rule), ("sent", result.sent), ("got ", result.got)):
            if told:
                console.print(f"          {word}  {told}", markup=False, soft_wrap=True)


def _write(path: Path, content: dict[str, Any]) -> None:
    text = orjson.dumps(content, option=orjson.OPT_INDENT_2)
    if str(path) == "-":
        click.echo(text)
    else:
        path.write_bytes(text + b"\n")
