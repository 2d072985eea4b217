"""The Open Inference Protocol (v2): tensors, codecs, an ASGI application, a gRPC service and a client.

Nothing here knows about features. What needs grpc or httptools is imported from its own
module: `grpc_service.serve_grpc`, `client.PredictorClient`, `server.serve` and `server.run`.
"""

from headrace.open_inference.app import App, make_app
from headrace.open_inference.codec import decode_request, decode_response, encode_request, encode_response
from headrace.open_inference.errors import (
    DeadlinePassed,
    Disconnected,
    FeaturesUnavailable,
    InternalError,
    InvalidRequest,
    NotReady,
    OpenInferenceError,
    Overloaded,
    PredictorFailed,
    TooLarge,
    UnknownModel,
)
from headrace.open_inference.gate import Gate
from headrace.open_inference.servable import Servable
from headrace.open_inference.tensors import DATATYPES, InferRequest, InferResponse, RequestedOutput, Tensor

__all__ = [
    "DATATYPES",
    "App",
    "DeadlinePassed",
    "Disconnected",
    "FeaturesUnavailable",
    "Gate",
    "InferRequest",
    "InferResponse",
    "InternalError",
    "InvalidRequest",
    "NotReady",
    "OpenInferenceError",
    "Overloaded",
    "PredictorFailed",
    "RequestedOutput",
    "Servable",
    "Tensor",
    "TooLarge",
    "UnknownModel",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
    "make_app",
]
