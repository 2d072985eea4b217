"""The lean server of a transformer: REST and gRPC over one request path, checked again and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

import headrace
from headrace.application import Application, load_application
from headrace.open_inference.app import make_app
from headrace.open_inference.client import PredictorClient
from headrace.open_inference.server import serve
from headrace.settings import TransformerSettings
from headrace.stores.packed import prepare
from headrace.stores.resilient import Resilient
from headrace.telemetry import RequestMetrics
from transformer.model import FeatureTransformer
from transformer.opening import open_store
from transformer.request_path import RequestPath
from transformer.resilience import guarded

CHECK_EVERY_S = 1.0
CHECK_AGAIN_S = 0.2  # while it is not ready: whoever is back is to be found again within a second


def build(settings: TransformerSettings, app: Application | None = None) -> FeatureTransformer:
    """Build the model that the settings describe; nothing is opened until it is asked for."""
    app = app or load_application(settings.application)
    name = settings.model_name or app.name
    metrics = RequestMetrics(name, tuple(group.name for group in app.groups))
    store = guarded(open_store(settings.store, app, os.environ), settings, app.view.groups)
    if isinstance(store, Resilient):
        metrics.watch(store)
    path = RequestPath(
        app,
        store,
        PredictorClient(settings.predictor_url, settings.predictor_model or app.name),
        metrics,
        name=name,
        max_rows=settings.max_rows,
    )
    return FeatureTransformer(
        path, default_deadline_s=settings.deadline_ms / 1000, unproved=settings.unproved_predictor
    )


async def run(settings: TransformerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises the server's errors, as for a taken port."""
    model = build(settings)
    prepare()
    await model.check()
    watching = asyncio.create_task(watch(model, asyncio.sleep))
    servables = {model.name: model}
    asgi = make_app(
        servables,
        default_deadline_s=settings.deadline_ms / 1000,
        max_body_bytes=settings.max_body_mib << 20,
        metrics=model.path.metrics.text,
        observe=model.path.metrics.observe,
        name="headrace-transformer",
        version=headrace.__version__,
    )
    try:
        await serve(
            asgi,
            servables,
            host=settings.host,
            http_port=settings.http_port,
            grpc_port=settings.grpc_port,
            drain_s=settings.drain_s,
        )
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await model.path.predictor.close()
        model.path.store.close()


async def watch(model: FeatureTransformer, pause: Callable[[float], object]) -> None:
    """Check the model over and over and say when its readiness changes."""
    said: str | None = ""
    while True:
        why = model.readiness()
        if why != said:
            print("ready" if why is None else f"not ready: {why}", flush=True)
            said = why
        await pause(CHECK_EVERY_S if why is None else CHECK_AGAIN_S)  # type: ignore[misc]
        await model.check()
