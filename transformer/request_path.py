"""The request path: decode, read, assemble, predict, respond, under one deadline.

This is the hot path. Names are resolved when it is built; a request makes one read of the
online store and one call of the predictor however many rows it has, and nothing here
loops over rows. Small requests that come in the same turn of the event loop are made one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from headrace.application import Application
from headrace.features import Plan
from headrace.features.rows import Rows
from headrace.open_inference.calls import CALL
from headrace.open_inference.errors import (
    DeadlinePassed,
    FeaturesUnavailable,
    InternalError,
    InvalidRequest,
    OpenInferenceError,
    PredictorFailed,
    TooLarge,
)
from headrace.open_inference.predictor import Predictor
from headrace.open_inference.servable import Answered
from headrace.open_inference.shield import outcome, shielded
from headrace.open_inference.tensors import InferRequest, InferResponse, Tensor
from headrace.stores.online import Block, Lookup, OnlineStore, ReadDeadlinePassed, RowsUnread, StoreUnavailable
from headrace.telemetry import RequestMetrics
from transformer.counting import count, fallen_back
from transformer.joined import MOST_JOINED, join, kind_within, runs_of
from transformer.predicted import prediction
from transformer.prepared import EXTRAS, FEATURES, Asked, Kept, Prepared
from transformer.rows import rows_of
from transformer.turns import Place, Turns

STAGES = ("decode", "store", "assemble", "predict")
#: How many further runs may be made of one that predictor or store failed; one to blame of 64 requests takes 12.
_MOST_APART, _TO_FIND_ONE = 32, 12


#: One that was answered: the request, which rows of the run are its own, and the answer.
AnsweredOne = tuple[Asked, slice, InferResponse]
#: Told of a run that was answered: what was prepared, and whose rows they are.
After = Callable[[Prepared, Sequence[AnsweredOne]], None]


class RequestPath:
    """One application's path from request to answer.

    `clock` returns epoch milliseconds, for requests that do not say when.
    """

    def __init__(
        self,
        app: Application,
        store: OnlineStore,
        predictor: Predictor,
        metrics: RequestMetrics,
        *,
        name: str = "",
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        max_rows: int = 10_000,
    ) -> None:
        self.app, self.store, self.predictor, self.metrics = app, store, predictor, metrics
        self.name = name or app.name
        self.outputs = tuple(output.name for output in app.outputs)
        self._predicted = app.model_outputs
        self._view = app.view
        self._plan = Plan.of(app.view)
        self._clock = clock
        self.max_rows = max_rows
        self.after: After | None = None
        self._turns: Turns[Asked, InferResponse] = Turns(self._alone, self._together)

    def load(self) -> None:
        """Load what the first request would have to wait for, seconds at the worst."""
        self._plan.prepare()

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Answer a request, or raise an OpenInferenceError."""
        self._check_outputs(request)
        kept = None if self.after is None else Kept(CALL.get())
        asked = Asked(kind_within(request, deadline), request, deadline, kept)
        try:
            return await (self._alone(asked) if asked.kind is None else self._turns.join(asked))
        except asyncio.CancelledError:
            if kept is not None:
                kept.left = True
            raise

    def ask(self, request: InferRequest, deadline: float, answered: Answered) -> Place:
        """Have `answered` called with what `infer` returns or raises; see `Askable`."""
        self._check_outputs(request)
        kind = kind_within(request, deadline)
        return self._turns.ask(Asked(kind, request, deadline), answered, apart=kind is None)

    async def prepare(
        self, request: InferRequest, deadline: float, requests: int = 1, *, counted: bool = False
    ) -> Prepared:
        """Turn a request, or several that were made one, into the model's input, with one read of the online store.

        What was `counted` when it was tried before is not again.
        """
        began = time.perf_counter()
        self._check_outputs(request)
        rows = rows_of(self._view, request.inputs, self._clock(), self.max_rows)
        decoded = time.perf_counter()
        blocks = await self._read(rows, deadline)
        read = time.perf_counter()
        matrix = self._plan.assemble(rows.count, rows.columns, {name: block.values for name, block in blocks.items()})
        done = time.perf_counter()
        took = decoded - began, read - decoded, done - read
        # Counted while the predictor computes, which is before there is an answer.
        if not counted:
            asyncio.get_running_loop().call_soon(count, self.metrics, took, requests, rows, blocks)
        return Prepared(request, rows, blocks, matrix, deadline, [1e3 * stage for stage in took], requests)

    async def predict(self, prepared: Prepared, deadline: float) -> dict[str, np.ndarray]:
        """Ask the predictor for the model's outputs, one value per row each."""
        began = time.perf_counter()
        features = Tensor(FEATURES, "FP32", prepared.matrix)
        answer = await self.predictor.infer([features], self._predicted, deadline, headers=prepared.request.headers)
        prepared.predicted, prepared.version = time.perf_counter(), answer.version
        took = prepared.predicted - began
        self.metrics.predict.observe(took, prepared.requests)
        prepared.stage_ms.append(took * 1e3)
        return {name: prediction(answer, name, prepared.rows.count) for name in self._predicted}

    def respond(self, prepared: Prepared, predictions: dict[str, np.ndarray]) -> InferResponse:
        """Make the answer: the application's outputs, and the extras that were asked for by name."""
        began = time.perf_counter()
        request = prepared.request
        answered = self.app.respond(predictions)
        outputs = [Tensor(output.name, output.datatype, answered[output.name]) for output in self.app.outputs]
        outputs += [prepared.extra(asked.name) for asked in request.outputs if asked.name in EXTRAS]
        degraded = int(prepared.rows.spoiled().sum()) if prepared.rows.invalid else 0
        parameters = {"headrace_degraded_rows": degraded} if degraded else {}
        if kept := fallen_back(prepared.blocks):
            parameters["headrace_fallback_rows"] = kept
        self.metrics.postprocess.observe(time.perf_counter() - began)
        return InferResponse(self.name, request.version, request.id, outputs, parameters)

    async def _alone(self, asked: Asked, *, counted: bool = False) -> InferResponse:
        prepared = await self.prepare(asked.request, asked.deadline, counted=counted)
        predictions = await self.predict(prepared, asked.deadline)
        answer = self.respond(prepared, predictions)
        if self.after is not None:
            self.after(prepared, [(asked, slice(0, prepared.rows.count), answer)])
        return answer

    async def _together(self, asked: Sequence[Asked]) -> Sequence[InferResponse | Exception]:
        if len(asked) == 1:  # one that is apart from others may have no rows to count
            return [await self._outcome(asked[0])]
        most = min(self.predictor.most_rows or MOST_JOINED, self.max_rows)
        runs = runs_of([(one.kind, one.request) for one in asked], most)
        if len(runs) == 1:
            return await self._joined(asked)
        found = await asyncio.gather(*(self._joined([asked[at] for at in run]) for run in runs))
        answers: dict[int, InferResponse | Exception] = {}
        for run, given in zip(runs, found, strict=True):
            answers |= zip(run, given, strict=True)
        return [answers[at] for at in range(len(asked))]

    async def _joined(
        self, asked: Sequence[Asked], further: Iterator[int] | None = None, *, counted: bool = False
    ) -> Sequence[InferResponse | Exception]:
        if len(asked) == 1:
            return [await self._outcome(asked[0], counted=counted)]
        joined, deadline = join([one.request for one in asked]), max(one.deadline for one in asked)
        try:
            prepared = await shielded(self.prepare(joined.request, deadline, len(asked), counted=counted))
        except (InvalidRequest, TooLarge):
            return await self._but_for_the_refused(asked, further)
        except OpenInferenceError as failed:
            if isinstance(failed, InternalError) or isinstance(failed.__cause__, RowsUnread):
                further = iter(range(_TO_FIND_ONE)) if further is None else further
                return await self._halves(asked, failed, further, counted=counted)
            return [failed] * len(asked)
        try:
            predictions = await self.predict(prepared, deadline)
        except PredictorFailed as failed:
            further = iter(range(_MOST_APART)) if further is None else further
            return await self._halves(asked, failed, further, counted=True)
        except OpenInferenceError as failed:
            return [failed] * len(asked)
        spoiled = prepared.rows.spoiled() if prepared.rows.invalid else None
        plain = spoiled is None and not fallen_back(prepared.blocks)
        answers = [
            self._refusal(one) or InvalidRequest("no row can be answered: all were refused beside others, ask again")
            if spoiled is not None and spoiled[part].all()
            else outcome(
                self.respond,
                prepared.part(one.request, one.deadline, part, plain=plain),
                {n: of[part] for n, of in predictions.items()},
            )
            for one, part in zip(asked, joined.parts, strict=True)
        ]
        if self.after is not None:
            own = [
                (one, part, answer)
                for one, part, answer in zip(asked, joined.parts, answers, strict=True)
                if isinstance(answer, InferResponse) and not one.left
            ]
            if own:
                self.after(prepared, own)
        return answers

    async def _but_for_the_refused(
        self, asked: Sequence[Asked], further: Iterator[int] | None
    ) -> Sequence[InferResponse | Exception]:
        """Refuse those of a run that are refused by themselves, and join the others anew."""
        refusals = [self._refusal(one) for one in asked]
        taken = [one for one, refusal in zip(asked, refusals, strict=True) if refusal is None]
        if len(taken) == len(asked):  # only together are they too much
            return await asyncio.gather(*map(self._outcome, asked))
        answers = iter(await self._joined(taken, further) if taken else ())
        return [next(answers) if refusal is None else refusal for refusal in refusals]

    async def _halves(
        self, asked: Sequence[Asked], failed: OpenInferenceError, further: Iterator[int], *, counted: bool
    ) -> Sequence[InferResponse | Exception]:
        """Ask the halves of a run that failed, so that a row on which one fails refuses its own request alone."""
        half, answers = len(asked) // 2, list[InferResponse | Exception]()
        for part in (asked[:half], asked[half:]):
            more = next(further, None) is not None
            answers += await self._joined(part, further, counted=counted) if more else [failed] * len(part)
        return answers

    def _refusal(self, asked: Asked) -> OpenInferenceError | None:
        """Return why nothing of a request can be answered, as where all of its rows were marked among others."""
        found = outcome(rows_of, self._view, asked.request.inputs, self._clock(), self.max_rows)
        return found if isinstance(found, OpenInferenceError) else None

    async def _outcome(self, asked: Asked, *, counted: bool = False) -> InferResponse | Exception:
        try:
            return await shielded(self._alone(asked, counted=counted))
        except OpenInferenceError as refused:
            return refused

    async def _read(self, rows: Rows, deadline: float) -> dict[str, Block]:
        groups = self._view.groups
        lookups = [Lookup(group, rows.columns[group.key]) for group in groups]
        try:
            blocks = await self.store.read(lookups, rows.as_of, deadline)
        except ReadDeadlinePassed as late:
            raise DeadlinePassed(str(late)) from late
        except StoreUnavailable as away:
            # A guess without features is worse than an honest refusal: the caller has a fallback of its own.
            raise FeaturesUnavailable(str(away)) from away
        for group, block in zip(groups, blocks, strict=True):
            unkeyed = rows.unkeyed.get(group.key)
            if unkeyed is not None:
                block.values[unkeyed], block.found[unkeyed], block.age_ms[unkeyed] = np.nan, False, np.nan
                for marks in (block.stale, block.default):
                    if marks is not None:
                        marks[unkeyed] = False
        return {group.name: block for group, block in zip(groups, blocks, strict=True)}

    def _check_outputs(self, request: InferRequest) -> None:
        for asked in request.outputs:
            if asked.name not in self.outputs and asked.name not in EXTRAS:
                known = ", ".join((*self.outputs, *EXTRAS))
                raise InvalidRequest(f"output {asked.name[:100]!r} is unknown, needs one of {known}")


def deadline_in(seconds: float) -> float:
    """Return the instant of the running loop so many seconds from now."""
    return asyncio.get_running_loop().time() + seconds
