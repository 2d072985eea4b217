"""The prediction log: what a served request was answered with, and what of; to Parquet files or a Kafka topic.

The request path hands over references and goes on. A thread makes columns of them and gives them to a sink; where
the sink does not keep up or fails, predictions are dropped and counted, and serving goes on as if nothing was.
"""

from headrace.predictions.columns import LONGEST_ID, Answered, Columns, Run
from headrace.predictions.log import PredictionLog, Sink, SinkFailed
from headrace.predictions.pseudonyms import KeysError, Pseudonyms

__all__ = [
    "LONGEST_ID",
    "Answered",
    "Columns",
    "KeysError",
    "PredictionLog",
    "Pseudonyms",
    "Run",
    "Sink",
    "SinkFailed",
]
