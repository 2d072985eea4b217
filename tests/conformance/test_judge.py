"""The judge itself: what it makes of servers that are wrong, silent or say too little; and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headrace.cli import main
from headrace.cli.stack import Server as Running
from headrace.conformance.judge import CHECKS, chosen, judge
from headrace.conformance.judging import Level, Outcome
from headrace.conformance.server import Server
from tests.conformance.misbehaving import content, saying

METADATA = {
    "name": "m",
    "platform": "p",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}
ANSWER = {"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}]}


def one(metadata: Any = METADATA, answer: Any = ANSWER) -> Any:
    """Return the answers of a server that says the same to everybody."""

    def say(request: bytes) -> bytes:
        return content(json.dumps(answer if b"/infer" in request.split(b"\r\n")[0] else metadata).encode())

    return say


def verdict(check: str, metadata: Any = METADATA, answer: Any = ANSWER) -> tuple[Outcome, str]:
    """Return what one check makes of such a server."""
    with saying(one(metadata, answer)) as url:
        (result,) = judge(Server(url, model="m", timeout_s=1), chosen([check])).results
    return result.outcome, result.why


def output(**members: Any) -> dict[str, Any]:
    """Return an answer whose output has other members."""
    return {"model_name": "m", "outputs": [ANSWER["outputs"][0] | members]}  # type: ignore[index]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ANSWER, ""),
        ({**ANSWER, "model_name": "n"}, "model_name is 'n', needs 'm'"),
        ({"model_name": "m"}, "the answer has no list of outputs"),
        ([], "the answer is a JSON list, needs an object"),
        (output(data=[1.0]), "output 'y' has 1 elements, needs 2 for shape [2]"),
        (output(data=["1", "2"]), "output 'y' of FP32 holds str"),
        (output(data=[1.0, float("nan")]), "the answer is not JSON (it holds NaN, which JSON does not have)"),
        (output(data=None), "output 'y' has no list of data"),
        (output(datatype="FP31"), "an output has the name 'y' and the datatype 'FP31', needs both of the protocol's"),
        (output(shape=[-1]), "output 'y' has the shape [-1], needs a list of lengths"),
        (output(parameters={"binary_data_size": 8}), "output 'y' has a binary_data_size of 8, 0 bytes are left for it"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(answer: Any, why: str) -> None:
    found = verdict("REST-030", answer=answer)
    assert found == ((Outcome.FAIL, why) if why else (Outcome.PASS, ""))


def test_a_model_that_does_not_say_what_it_reads_is_asked_by_a_given_request(tmp_path: Path) -> None:
    silent = {"name": "m", "platform": "p"}
    outcome, why = verdict("REST-031", silent)
    needed = "the model's metadata lists no inputs: give a request the model answers by --request"
    assert (outcome, why) == (Outcome.NOT_JUDGED, needed)
    given = tmp_path / "request.json"
    given.write_text('{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [[1.0], [2.0]]}]}')
    with saying(one(silent)) as url:
        server = Server(url, model="m", request=given, timeout_s=1)
    assert server.why_unasked == ""
    assert server.sample[0].data == (1.0, 2.0)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1]}]}']
)
def test_a_file_that_is_no_request_is_said(tmp_path: Path, text: str) -> None:
    given = tmp_path / "request.json"
    given.write_text(text)
    with pytest.raises(ValueError, match=r"request.json is no request \(.*\), needs a request of the protocol in JSON"):
        Server("http://127.0.0.1:1", model="m", request=given)


def test_a_server_that_ends_is_asked_nothing_more() -> None:
    asked: list[bytes] = []
    with saying(lambda request: asked.append(request) or content(b"{}")) as url:
        server = Server(url, model="m", timeout_s=1)
    report = judge(server, chosen(["REST-001", "REST-002", "REST-003"]))
    assert [each.outcome for each in report.results] == [Outcome.FAIL, Outcome.NOT_JUDGED, Outcome.NOT_JUDGED]
    assert report.results[-1].why == "nobody listens since REST-001"
    assert report.exit_code == 1


def test_answers_that_change_by_themselves_are_not_held_against_each_other() -> None:
    numbers = iter(range(1000))

    def say(request: bytes) -> bytes:
        asked = b"/infer" in request.split(b"\r\n")[0]
        return content(json.dumps(output(data=[next(numbers), 0.5]) if asked else METADATA).encode())

    with saying(say) as url:
        server = Server(url, model="m", timeout_s=1)
        assert not server.repeats
        assert judge(server, chosen(["REST-030"])).findings == []


def test_a_fault_of_the_server_is_less_than_a_missing_error_object() -> None:
    for status, body, level in (
        (b"400 Bad", b'{"error": "no"}', None),
        (b"500 No", b'{"error": "no"}', Level.SHOULD),
        (b"400 Bad", b'{"detail": "no"}', Level.MUST),
        (b"200 OK", b"{}", Level.MUST),
    ):
        with saying(lambda request, body=body, status=status: content(body, status)) as url:
            (result,) = judge(Server(url, model="m", timeout_s=1), chosen(["json-broken"])).results
        assert (result.level if result.outcome is Outcome.FAIL else None) == level


def test_ids_are_never_given_twice() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)


def command(*words: str) -> Result:
    """Run `headrace conformance`."""
    return CliRunner().invoke(main, ["conformance", *words])


def test_the_command_prints_what_it_finds(plain: Running, tmp_path: Path) -> None:
    written = tmp_path / "report.json"
    done = command(
        f"http://{plain.http}", "--model", "one", "--only", "REST-001", "--only", "infer", "--json", str(written)
    )
    assert done.exit_code == 0, done.output
    assert "REST-001  live                   must      pass\n" in done.output
    assert "one at http://127.0.0.1:" in done.output
    report = json.loads(written.read_text())
    assert report["counts"] == {"pass": 2, "fail": 0, "not offered": 0, "not judged": 0}
    assert [each["id"] for each in report["results"]] == ["REST-001", "REST-030"]


def test_the_command_says_what_a_finding_is() -> None:
    with saying(one()) as url:
        done = command(url, "--model", "m", "--only", "REST-060", "--timeout", "1")
    assert done.exit_code == 1
    assert "fail: the status is 200, needs a refusal: 4xx with an error object" in done.output
    assert "rule  a body that is not JSON is refused" in done.output
    assert 'sent  POST /v2/models/m/infer [Content-Type: application/json] {"inputs": [{"name"' in done.output
    assert 'got   200 {"model_name": "m"' in done.output


def test_the_command_finds_the_model_and_prints_json(plain: Running) -> None:
    done = command(f"http://{plain.http}", "--only", "REST-001", "--json", "-")
    assert json.loads(done.output)["model"] == "all"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no server was named, needs a URL such as http://127.0.0.1:8080"),
        (("http://127.0.0.1:1",), "127.0.0.1:1 cannot be reached (Connection refused)"),
        (("ftp://127.0.0.1",), "the server is 'ftp://127.0.0.1', needs a URL such as http://127.0.0.1:8080"),
        (("http://127.0.0.1:1", "--grpc", "http://127.0.0.1:2"), "'http://127.0.0.1:2' is no address for gRPC, needs"),
        (("http://127.0.0.1:1", "--only", "REST-999"), "there is no check 'REST-999', needs one that --list shows"),
    ],
)
def test_what_cannot_be_judged_is_said(words: tuple[str, ...], said: str) -> None:
    done = command(*words)
    assert done.exit_code == 2
    assert said in done.output


def test_a_server_without_models_is_said() -> None:
    with saying(lambda request: content(b'{"models": []}')) as url:
        done = command(url)
    assert done.exit_code == 2
    assert "the server lists no models, needs the name of one by --model" in done.output


def test_a_model_that_is_not_there_is_no_finding(plain: Running) -> None:
    done = command(f"http://{plain.http}", "--model", "nope")
    assert done.exit_code == 2
    assert "the server has no model 'nope', needs the name of one that it serves" in done.output


def test_the_rules_are_listed() -> None:
    listed = command("--list").output.splitlines()
    assert [line.split()[0] for line in listed] == [check.id for check in CHECKS]
