"""The Open Inference Protocol (v2), over HTTP and gRPC, for those who serve a model and for those who ask one.

Nothing here knows about features. What both doors share lies in this folder: tensors, errors, the `Servable` that
answers, the gate every request passes. Each of the folders uses it, and those before:

    codec     bodies to tensors and back
    rest      the HTTP door: connections, the ASGI application, inferences without a task
    grpc      the gRPC door: `grpc.service.serve_grpc`
    client    a model asked at any of its endpoints: `client.model_client.PredictorClient`
    serving   processes with both doors: `serving.server.serve` and `serving.server.run`

What needs grpc or httptools is imported from its own module.
"""

from headrace.open_inference.codec.bodies import decode_request, decode_response, encode_request, encode_response
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
from headrace.open_inference.rest.app import App, make_app
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
