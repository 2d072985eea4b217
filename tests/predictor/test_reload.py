"""Hot reload: an exchanged directory is served from the next request on; a refused one changes nothing."""

import asyncio
import gc
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headrace.open_inference import InferRequest, Tensor
from headrace.telemetry import PredictorMetrics
from predictor import versions
from predictor.__main__ import main
from predictor.batching import Batches, Threads
from predictor.reload import Watch, watch
from predictor.reload import watching as watching_all
from predictor.server import Runs
from predictor.serving import ServedModel, models_in, read_versions
from tests.predictor.shifting import write_version

ROW = np.array([[12.5, 33.0, 2.0]], dtype=np.float32)


@pytest.fixture
def watching(repository):
    """Return a function that gives a watch of the model, and the lines it says."""

    def start(public_key=None):
        directory, said, metrics = repository / "small", [], PredictorMetrics()
        runs = Runs(ThreadPoolExecutor(1))

        def load():
            loads.append(1)
            return read_versions(directory, partial(runs.open, name="small"), public_key)

        loads = []
        found = Watch(ServedModel("small", load()), directory, load, metrics, said.append)
        return found, said, loads

    return start


def looked(found):
    return asyncio.run(found.look())


def score(servable, version=""):
    request = InferRequest("small", version, inputs={"features": Tensor.of("features", ROW)})
    answer = asyncio.run(servable.infer(request, 1e9))
    return answer.version, float(answer.output("p")[0, 0])


def exchanged(repository, change):
    """Put a changed copy of the model in its place, as a whole."""
    directory, other = repository / "small", repository / "other"
    shutil.copytree(directory, other)
    change(other)
    directory.rename(repository / ".former")
    other.rename(directory)


def test_a_new_version_is_served_from_the_next_request_on(repository, watching):
    found, said, _ = watching()
    before = score(found.model)
    write_version(repository, 1.0)
    assert looked(found)
    after = score(found.model)
    assert (before[0], after[0]) == ("1", "2")
    assert after[1] > before[1] + 0.01
    assert found.model.versions == ("1", "2")
    assert score(found.model, "1") == before
    assert said == ["predictor: 'small' now answers by version 2\n"]
    assert b'headrace_model_version{model_name="small",production="true",version="2"} 1.0' in found.metrics.text()
    write_version(repository, 2.0)
    assert looked(found)
    assert b'production="true",version="2"' not in found.metrics.text()


def test_while_the_directory_is_the_same_nothing_is_read(watching):
    found, said, loads = watching()
    assert not looked(found)
    assert not looked(found)
    assert (len(loads), said) == (1, [])


def test_who_was_given_a_version_asks_it_to_the_end(repository, watching):
    found, _, _ = watching()
    held, before = found.model.at(""), score(found.model)
    write_version(repository, 1.0)
    assert looked(found)
    assert score(held) == before
    assert score(found.model) != before


def test_an_alias_that_moves_is_enough(repository, watching):
    write_version(repository, 1.0, promote=False)
    found, _, _ = watching()
    assert (found.model.production, found.model.versions) == ("1", ("1", "2"))
    versions.promote(repository / "small", "candidate")
    assert looked(found)
    assert found.model.production == "2"
    versions.roll_back(repository / "small")
    assert looked(found)
    assert found.model.production == "1"


def test_each_version_tells_its_own_fingerprint_and_all_of_them(repository, watching):
    write_version(repository, 1.0, promote=False)
    found, _, _ = watching()
    for version in ("1", "2"):
        one = found.model.at(version)
        assert one.metadata()["versions"] == ["1", "2"]
        assert one.config()["parameters"]["headrace_production"]["string_value"] == "1"
        assert one.config()["parameters"]["headrace_fingerprint"]["string_value"] == one.fingerprint


def flip(path, keep=None):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(bytes(content[:keep]))


def pickled(directory):
    (directory / "1" / "model.pkl").write_bytes(b"\x80\x04.")


REFUSED = {
    "altered": (lambda d: flip(d / "1" / "model.onnx"), "altered", "1/model.onnx of model 'small' has SHA-256 "),
    "truncated": (lambda d: flip(d / "1" / "model.onnx", 100), "altered", "1/model.onnx of model 'small' has SHA-256 "),
    "pickled": (pickled, "code", "model 'small' holds 1/model.pkl, a file that can run code"),
    "unlisted": (lambda d: (d / "notes.txt").write_text("x"), "unlisted", "model 'small' holds notes.txt, which"),
    "lacking": (lambda d: (d / "1" / "model.onnx").unlink(), "incomplete", "model 'small' lacks 1/model.onnx"),
    "half written": (
        lambda d: flip(d / "headrace.json", 40),
        "incomplete",
        "headrace.json of model 'small' is not JSON",
    ),
    "emptied": (lambda d: (d / "headrace.json").unlink(), "incomplete", "model 'small' has no headrace.json"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_said_once_and_the_former_serves_on(repository, watching, kind):
    change, reason, text = REFUSED[kind]
    found, said, loads = watching()
    before = score(found.model)
    exchanged(repository, change)
    for _ in range(3):
        assert not looked(found)
    assert len(loads) == 2
    [line] = said
    assert line.startswith(f"predictor: {text}")
    assert line.endswith("; version 1 of 'small' serves on\n")
    counted = f'headrace_model_refused_total{{model_name="small",reason="{reason}"}} 1.0'
    assert counted.encode() in found.metrics.text()
    assert score(found.model) == before


def test_what_is_mended_is_served(repository, watching):
    found, _, _ = watching()
    exchanged(repository, lambda directory: flip(directory / "1" / "model.onnx"))
    assert not looked(found)
    shutil.rmtree(repository / "small")
    (repository / ".former").rename(repository / "small")
    write_version(repository, 1.0)
    assert looked(found)
    assert score(found.model)[0] == "2"


def test_a_model_that_is_gone_serves_on(repository, watching):
    found, said, _ = watching()
    before = score(found.model)
    (repository / "small").rename(repository / ".away")
    assert not looked(found)
    assert said == [
        "predictor: model 'small' is not in the repository: train one first; version 1 of 'small' serves on\n"
    ]
    (repository / ".away").rename(repository / "small")
    looked(found)
    assert score(found.model) == before


def test_a_model_that_cannot_be_run_is_refused(repository, watching):
    found, said, _ = watching()
    write_version(repository, 1.0, change=lambda model: model.replace(b"MatMul", b"MatMux").replace(b"Gemm", b"Gemx"))
    assert not looked(found)
    assert said[0].startswith("predictor: model 'small' cannot be run: the file is not an ONNX model")
    assert found.model.production == "1"


def test_a_fault_in_loading_is_a_refusal_that_is_counted_and_ends_no_watch(repository, watching, capsys):
    found, said, _ = watching()
    write_version(repository, 1.0)
    load, found.load = found.load, lambda: [][0]
    assert not looked(found)
    assert not looked(found)  # once for one state of the directory
    assert len(said) == 1
    assert said[0].endswith("; version 1 of 'small' serves on\n")
    assert 'headrace_model_refused_total{model_name="small",reason="fault"} 1.0' in found.metrics.text().decode()
    assert ": IndexError" in capsys.readouterr().err
    found.load = load
    write_version(repository, 2.0)
    assert looked(found)


@pytest.fixture
def keys(tmp_path):
    """Return the files of a private and its public key."""
    private = ec.generate_private_key(ec.SECP256R1())
    one, other = tmp_path / "private.pem", tmp_path / "public.pem"
    one.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    other.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return one, other


def test_where_signatures_are_needed_an_unsigned_model_is_refused(repository, watching, keys):
    private, public = keys
    versions.sign(repository / "small", private)
    found, said, _ = watching(public)
    write_version(repository, 1.0)
    assert not looked(found)
    assert said[0].startswith("predictor: model 'small' has no signature, needs one by the key of 'public.pem'")
    assert b'headrace_model_refused_total{model_name="small",reason="unsigned"} 1.0' in found.metrics.text()
    versions.sign(repository / "small", private)
    assert looked(found)
    assert found.model.production == "2"


def test_the_watch_goes_on_looking(repository, watching):
    found, _, _ = watching()
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            write_version(repository, 1.0)
        if len(pauses) == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch([found], 2.5, pause))
    assert pauses == [2.5] * 4
    assert found.model.production == "2"


def test_a_watch_that_dies_is_said_once(capsys):
    async def broken():
        raise LookupError("words of a model")

    async def died():
        await asyncio.wait([watching_all([SimpleNamespace(look=broken)], 0)])

    asyncio.run(died())
    complained = capsys.readouterr().err
    assert complained.count("LookupError while models were watched: start the predictor anew to reload\n") == 1


def test_a_state_is_told_from_one_of_the_same_number(repository, watching):
    """A file system gives a removed directory's number to the next: by it alone two exchanges look like none."""
    found, _, _ = watching()
    directory = repository / "small"
    number = directory.stat().st_ino
    for turn in range(8):
        write_version(repository, 1.0 + turn)
        if directory.stat().st_ino == number:
            break
    assert looked(found)
    assert found.model.production == str(turn + 2)


def test_the_models_of_a_repository(repository):
    shutil.copytree(repository / "small", repository / "large")
    shutil.copytree(repository / "small", repository / ".half")
    (repository / "empty").mkdir()
    assert models_in(repository) == ["large", "small"]


def test_requests_under_way_end_on_the_version_they_began_with(repository, watching):
    found, _, _ = watching()
    begun, go = threading.Event(), threading.Event()
    first_version = found.model.at("")

    def held(features, wanted):
        begun.set()
        assert go.wait(20)
        return {name: np.zeros(len(features), dtype=np.float32) for name in wanted}

    first_version.batches = Batches(held, Threads(ThreadPoolExecutor(1), 1))

    async def ask():
        request = InferRequest("small", inputs={"features": Tensor.of("features", ROW)})
        first = asyncio.create_task(first_version.infer(request, 1e9))
        assert await asyncio.to_thread(begun.wait, 20)
        await asyncio.to_thread(write_version, repository, 1.0)
        assert await found.look()
        second = await found.model.infer(request, 1e9)
        assert not first.done()
        go.set()
        return (await first).version, second.version

    assert asyncio.run(ask()) == ("1", "2")


def test_a_version_that_was_replaced_is_let_go_with_its_last_request(repository, watching):
    found, _, _ = watching()
    former = weakref.ref(found.model.at("").batches)  # which have the session

    async def ask():
        for rows in (1, 5000):  # on the event loop, and in a thread
            request = InferRequest("small", inputs={"features": Tensor.of("features", np.repeat(ROW, rows, axis=0))})
            await found.model.infer(request, 1e9)
        await asyncio.to_thread(write_version, repository, 1.0)
        assert await found.look()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(ask())
        assert former() is None
    finally:
        gc.enable()


def test_a_fault_in_loading_ends_a_start_with_one_line_that_names_the_model(repository, monkeypatch, capsys):
    monkeypatch.setattr("predictor.reload.read_versions", lambda *given: [][0])
    assert main(["--repository", str(repository)]) == 2
    said = capsys.readouterr().err
    assert "predictor: model 'small' could not be loaded: internal error, id " in said.splitlines()[-1]
    assert ": IndexError" in said
