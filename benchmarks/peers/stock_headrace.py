"""Headrace's own `FeatureTransformer` under the stock server: what the features cost, and what the server does."""

from __future__ import annotations

from benchmarks.peers.stock_server import arguments, serve
from headrace.settings import TransformerSettings
from transformer.server import build


def main() -> None:
    """Serve the fraud application's transformer."""
    told = arguments()
    settings = TransformerSettings(store=told.store, predictor_host=told.predictor_host, model_name=told.model_name)
    serve(build(settings), told.http_port, told.grpc_port)


if __name__ == "__main__":
    main()
