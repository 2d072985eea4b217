"""Every metric with its labels and buckets: of servers, the request path and pipelines. Payloads are never recorded."""

from headrace.telemetry.endpoint import serve
from headrace.telemetry.merging import merged
from headrace.telemetry.pipelines import PipelineMetrics
from headrace.telemetry.predictors import ModelMetrics, PredictorMetrics
from headrace.telemetry.servers import AGES, BUCKETS, STAGES, RequestMetrics, ServerMetrics

__all__ = [
    "AGES",
    "BUCKETS",
    "STAGES",
    "ModelMetrics",
    "PipelineMetrics",
    "PredictorMetrics",
    "RequestMetrics",
    "ServerMetrics",
    "merged",
    "serve",
]
