"""One version of a model as the embedded predictor asks it: run by ONNX Runtime, its rows joined with others'.

A model is taken only as it was written: its checksums, its width, its outputs and the
fingerprint in its file must agree with its manifest. How many rows are run on the event loop
itself is measured when a model is loaded: as many as take INLINE_S, or with one core ONE_CORE_S. Handing
a batch to a thread and back was measured at 0.2 ms and more, which a small run is not worth; a larger one is,
so that nobody waits for it: ONNX Runtime lets go of the interpreter while it computes.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from headrace.open_inference import InferRequest, InferResponse, InvalidRequest, PredictorFailed, Tensor
from headrace.open_inference.servable import Answered, Withdrawable
from headrace.open_inference.shield import outcome
from headrace.runtime import INPUT, RunFailed, Runtime, RuntimeRefused
from predictor.batching import Answers, Batches, Limits, Threads
from predictor.repository import Manifest, ModelRefused, read_model
from predictor.triton import COLUMNS, FINGERPRINT, model_metadata, told

INLINE_S = 0.0005
ONE_CORE_S = 0.002  # with one core to use: a thread of its own would only take turns with the event loop
LARGE_S = 0.01  # a model whose run of a sample takes longer gets every core for each run
_MOST_INLINE, _SAMPLE, _TIMES = 4096, 256, 3
_LIMITS = Limits()
_MOST_NAMES, _LONGEST_NAME = 5, 100  # of a caller's, that are said back


class OnnxServable:
    """A version of a model as the servers of `headrace.open_inference` ask it; see `Servable`.

    `versions` are all that the model has, for those who ask what it is.
    """

    def __init__(self, manifest: Manifest, runtime: Runtime, batches: Batches) -> None:
        self.name, self.version = manifest.name, str(manifest.version)
        self.versions: tuple[str, ...] = (self.version,)
        self.fingerprint = manifest.fingerprint
        self.batches = batches
        self._width, self._outputs, self._config = runtime.width, runtime.outputs, _own_config(manifest)
        self._metadata = model_metadata(manifest.config)

    def readiness(self) -> str | None:
        """A model that could be loaded is ready."""
        return None

    def metadata(self) -> dict[str, Any]:
        """Return inputs, outputs and platform."""
        return self._metadata

    def config(self) -> dict[str, Any]:
        """Return the configuration as Triton gives it, the fingerprint and columns of this very version in it."""
        return self._config

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Score the rows of `features`; refuses NaN and infinity, another datatype and another width."""
        features, wanted = self._asked(request)
        return self._answer(request, wanted, await self.batches.score(features, wanted))

    def ask(self, request: InferRequest, deadline: float, answered: Answered) -> Withdrawable:
        """Have `answered` called with what `infer` returns or raises; see `Askable`."""
        features, wanted = self._asked(request)

        def told(found: Answers | BaseException) -> None:
            if isinstance(found, BaseException):
                answered(found)
            else:
                answered(outcome(self._answer, request, wanted, found))

        return self.batches.ask(features, wanted, told)

    async def predict_v1(self, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Score `{"instances": [[...], ...]}`: one list of features per row."""
        features = _checked(_numbers(body.get("instances")), self._width)
        wanted = self._outputs[:1]
        given = self._checked(await self.batches.score(features, wanted), wanted)
        return {"predictions": given[wanted[0]].tolist()}

    def _asked(self, request: InferRequest) -> tuple[np.ndarray, tuple[str, ...]]:
        features = _features(request.inputs, self._width)
        wanted = tuple(name for name in self._outputs if not request.outputs or request.wants(name))
        return features, wanted or self._outputs

    def _checked(self, given: Answers, wanted: tuple[str, ...]) -> Answers:
        answer = {name: given[name] for name in wanted}
        for name, array in answer.items():
            if np.count_nonzero(np.isfinite(array)) != array.size:
                raise PredictorFailed(f"model {self.name!r} answered NaN or infinity in {name!r}: the score is unknown")
        return answer

    def _answer(self, request: InferRequest, wanted: tuple[str, ...], given: Answers) -> InferResponse:
        # As Triton answers for a model that batches: [rows, 1].
        outputs = [Tensor(name, "FP32", array.reshape(-1, 1)) for name, array in self._checked(given, wanted).items()]
        return InferResponse(self.name, self.version, request.id, outputs)


@dataclass(frozen=True, slots=True)
class Runs:
    """How models are run: at most on `cores` cores, `threads` of them for one run, joined within limits.

    Without a number of threads a small model gets one, so that runs are made side by side, and a large one gets
    all cores, one run after another. Where a run is made, on the event loop or in the pool, is measured: a run of up
    to `inline_s` is made on the loop, and every one where that is infinite. Unless given it follows from the cores.
    """

    pool: Executor
    cores: int = 1
    threads: int | None = 1
    limits: Limits = _LIMITS
    clock: Callable[[], float] = time.thread_time  # not of a busy neighbour
    inline_s: float | None = None

    def open(
        self, manifest: Manifest, model: bytes, name: str, observe: Callable[[int, int], None] | None = None
    ) -> OnnxServable:
        """Return a version that agrees with its manifest and has run; raises ModelRefused."""
        threads = self.threads or 1
        try:
            runtime = _opened(manifest, model, name, threads)
            inline_rows, large = self._measured(runtime)
            if self.threads is None and large and self.cores > 1:
                threads = self.cores
                runtime = _opened(manifest, model, name, threads)
                inline_rows, _ = self._measured(runtime)
        except (RuntimeRefused, RunFailed) as wrong:
            raise ModelRefused(f"model {name!r} cannot be run: {wrong}") from wrong
        aside = Threads(self.pool, max(1, self.cores // threads))
        run = partial(_run, name, runtime)
        batches = Batches(run, aside, self.limits, inline_rows=inline_rows, observe=observe)
        return OnnxServable(manifest, runtime, batches)

    def _measured(self, runtime: Runtime) -> tuple[int, bool]:
        one, inline_s = self._fastest(runtime, 1), self.inline_s
        if inline_s is None:
            inline_s = INLINE_S if self.cores > 1 else ONE_CORE_S
        if inline_s == math.inf:
            return sys.maxsize, self._fastest(runtime, _SAMPLE, 1) > LARGE_S
        if one > inline_s:
            return 0, self._fastest(runtime, _SAMPLE, 1) > LARGE_S
        many = self._fastest(runtime, _SAMPLE)
        row = max((many - one) / (_SAMPLE - 1), inline_s / _MOST_INLINE)
        return min(_MOST_INLINE, 1 + int((inline_s - one) / row)), many > LARGE_S

    def _fastest(self, runtime: Runtime, rows: int, times: int = _TIMES) -> float:
        features, taken = np.zeros((rows, runtime.width), dtype=np.float32), []
        for _ in range(times):
            began = self.clock()
            runtime.run(features)
            taken.append(self.clock() - began)
        return min(taken)


def load(repository: Path | str, name: str, *, threads: int = 1) -> OnnxServable:
    """Load the production version of a model of the repository and try it; raises ModelRefused."""
    manifest, model = read_model(directory_of(repository, name))
    return Runs(ThreadPoolExecutor(2, thread_name_prefix="run"), 2, threads).open(manifest, model, name)


def directory_of(repository: Path | str, name: str) -> Path:
    """Return where a model of the repository lies; ModelRefused for what is no name of one."""
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise ModelRefused(f"model {name!r} is no name of a model, needs one without slashes")
    return Path(repository) / name


def _opened(manifest: Manifest, model: bytes, name: str, threads: int) -> Runtime:
    runtime = Runtime.of(model, threads)
    _agree(manifest, runtime, name)
    runtime.run(np.zeros((1, runtime.width), dtype=np.float32))  # the first run of a session is its slowest
    return runtime


def _run(name: str, runtime: Runtime, features: np.ndarray, wanted: tuple[str, ...]) -> Answers:
    try:
        return runtime.run(features, wanted)
    except RunFailed as failed:
        raise PredictorFailed(f"model {name!r} could not be run: {failed}") from failed


def _own_config(manifest: Manifest) -> dict[str, Any]:
    parameters = manifest.config["parameters"] | {
        FINGERPRINT: {"string_value": manifest.fingerprint},
        COLUMNS: {"string_value": told(manifest.columns)},
    }
    return manifest.config | {"parameters": parameters}


def _agree(manifest: Manifest, runtime: Runtime, name: str) -> None:
    outputs = tuple(output["name"] for output in manifest.outputs)
    said = {
        "name": (manifest.name, name),
        "fingerprint": (manifest.fingerprint, runtime.fingerprint),
        "number of columns": (len(manifest.columns), runtime.width),
        "outputs": (outputs, runtime.outputs),
    }
    for what, (written, found) in said.items():
        if written != found:
            raise ModelRefused(f"model {name!r} has {what} {found!r} in its file and {written!r} in its manifest")


def _features(inputs: Mapping[str, Tensor], width: int) -> np.ndarray:
    if len(inputs) != 1 or INPUT not in inputs:
        raise InvalidRequest(f"inputs are {_few(inputs) or 'none'}, needs {INPUT!r} alone")
    tensor = inputs[INPUT]
    if tensor.datatype != "FP32":
        raise InvalidRequest(f"input {INPUT!r} is {tensor.datatype}, needs FP32")
    return _checked(tensor.array, width)


def _numbers(instances: Any) -> np.ndarray:
    try:
        given = np.asarray(instances)
    except ValueError:  # of unequal length
        given = np.array("")
    nulls = given.dtype.kind == "O" and {int, float, NoneType}.issuperset(map(type, given.flat))
    truths = given.ndim == 2 and bool in set(map(type, chain.from_iterable(instances)))  # 1 and 0 beside numbers
    if truths or (given.dtype.kind not in "iuf" and not nulls):  # texts and truth values are no numbers
        raise InvalidRequest("instances are not lists of numbers of equal length, needs one per row")
    return given.astype(np.float32)


def _few(names: Collection[str]) -> str:
    """Return some of a caller's names as text, and how many more there are: it may have sent thousands."""
    said = [repr(name[:_LONGEST_NAME]) for name in islice(names, _MOST_NAMES)]
    return ", ".join(said) + (f" and {len(names) - len(said)} more" if len(names) > len(said) else "")


def _checked(features: np.ndarray, width: int) -> np.ndarray:
    if features.ndim != 2 or features.shape[1] != width:
        raise InvalidRequest(f"{INPUT!r} has shape {list(features.shape)}, needs [rows, {width}]")
    if np.count_nonzero(fit := np.isfinite(features)) != features.size:
        rows = len(features) - int(fit.all(axis=1).sum())
        raise InvalidRequest(
            f"{rows} of {len(features)} rows hold NaN or infinity, needs numbers: "
            "fill in the declared missing values before asking"
        )
    return features
