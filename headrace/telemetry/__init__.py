"""Every metric with its labels and buckets: of servers, the request path and pipelines. Payloads are never recorded."""

from headrace.telemetry.endpoint import serve
from headrace.telemetry.pipelines import PipelineMetrics
from headrace.telemetry.predictors import PredictorMetrics
from headrace.telemetry.servers import AGES, BUCKETS, RequestMetrics, ServerMetrics

__all__ = ["AGES", "BUCKETS", "PipelineMetrics", "PredictorMetrics", "RequestMetrics", "ServerMetrics", "serve"]
