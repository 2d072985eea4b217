"""The lean server of a transformer: REST and gRPC over one request path, checked again and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import headrace
from headrace.application import Application, load_application
from headrace.open_inference.codec import json_numbers
from headrace.open_inference.lasting import lasting
from headrace.open_inference.predictor import Predictor
from headrace.open_inference.rest.app import make_app
from headrace.open_inference.rest.connections import Bounds
from headrace.open_inference.serving.member import member_of
from headrace.open_inference.serving.server import serve
from headrace.open_inference.tls import certificate_of
from headrace.settings import TransformerSettings
from headrace.stores.packed import prepare
from headrace.stores.resilient import Resilient
from headrace.telemetry import ModelMetrics, RequestMetrics
from headrace.telemetry.clients import ClientCollector
from headrace.telemetry.merging import merged
from transformer.asking import forwarded, predictor_client
from transformer.model import FeatureTransformer
from transformer.opening import open_store
from transformer.recording import Recording
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
        _predictor(settings, app, metrics),
        metrics,
        name=name,
        max_rows=settings.max_rows,
    )
    return FeatureTransformer(
        path,
        default_deadline_s=settings.deadline_ms / 1000,
        unproved=settings.unproved_predictor,
        forward=forwarded(settings),
    )


def _predictor(settings: TransformerSettings, app: Application, metrics: RequestMetrics) -> Predictor:
    model = settings.predictor_model or app.name
    if not settings.predictor_in_process:
        client = predictor_client(settings, model)
        metrics.registry.register(ClientCollector(settings.model_name or app.name, client))
        return client
    from transformer.in_process import InProcess  # ONNX Runtime, which nobody else needs

    key = Path(settings.predictor_signed_by) if settings.predictor_signed_by else None
    repository, own = settings.predictor_in_process, ModelMetrics(metrics.registry)
    return InProcess.open(repository, model, app.view.fingerprint, own, public_key=key)


async def run(settings: TransformerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises the server's errors, as for a taken port."""
    certificate = certificate_of(settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_client_ca)
    model = build(settings)
    recording = Recording.open(settings, model.path, os.environ)
    model.path.load()
    json_numbers.prepare()
    prepare()
    await model.check()
    watching = lasting(watch(model, asyncio.sleep), "readiness was watched: it stays as it is until a new start")
    servables = {model.name: model}
    asgi = make_app(
        servables,
        default_deadline_s=settings.deadline_ms / 1000,
        max_body_bytes=settings.max_body_mib << 20,
        max_in_flight=settings.max_in_flight,
        metrics=model.path.metrics.text,
        observe=model.path.metrics.observe,
        name="headrace-transformer",
        version=headrace.__version__,
        forward=forwarded(settings),
    )
    try:
        async with model.path.predictor:
            await serve(
                recording.around(asgi),
                servables,
                host=settings.host,
                http_port=settings.http_port,
                grpc_port=settings.grpc_port,
                drain_s=settings.drain_s,
                bounds=Bounds(connections=settings.max_connections),
                certificate=certificate,
                member=await member_of(os.environ, merged),
                metrics=model.path.metrics.text,
            )
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        model.path.store.close()
        recording.close()


async def watch(model: FeatureTransformer, pause: Callable[[float], object]) -> None:
    """Check the model over and over and say when its readiness changes."""
    said: str | None = ""
    while True:
        why = model.readiness()
        if why != said:
            with suppress(OSError):  # whoever read it may have gone
                print("ready" if why is None else f"not ready: {why}", flush=True)
            said = why
        await pause(CHECK_EVERY_S if why is None else CHECK_AGAIN_S)  # type: ignore[misc]
        await model.check()
