"""Everything that can go wrong with a request, drawn as one tree.

    OpenInferenceError       500  INTERNAL
    ├── InvalidRequest       400  INVALID_ARGUMENT     the caller must change the request
    ├── UnknownModel         404  NOT_FOUND            no such model, version or route
    ├── TooLarge             413  RESOURCE_EXHAUSTED   more bytes than this server reads
    ├── Overloaded           429  RESOURCE_EXHAUSTED   try again after `retry_after_s`
    ├── Disconnected         499  CANCELLED            the caller hung up; nobody reads this
    ├── PredictorFailed      502  INTERNAL             the model answered with an error or with nonsense
    ├── NotReady             503  UNAVAILABLE          nobody can answer yet
    ├── FeaturesUnavailable  503  UNAVAILABLE          the store cannot be read in time
    ├── DeadlinePassed       504  DEADLINE_EXCEEDED    the answer came too late
    └── InternalError        500  INTERNAL             a fault of ours, known by its id in the log

Each message is sent to the caller as `{"error": message}`: it says what was found and what was
needed, and never a value of the request, a path of the server or a stack.
"""

from __future__ import annotations

#: What is said to who would load or unload a model.
CONTROL_IS_OFF = "models cannot be loaded or unloaded by request: a model is served as long as it is in the repository"


class OpenInferenceError(Exception):
    """A refusal with its HTTP status and the name of its gRPC status code.

    >>> InvalidRequest("input 'amount' is missing").http_status
    400
    """

    http_status = 500
    grpc_code = "INTERNAL"
    retry_after_s: float | None = None
    #: The id of the request that was refused, as far as it is known; for the log.
    request_id: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(OpenInferenceError):
    """The request says something that cannot be answered, whoever is asked."""

    http_status = 400
    grpc_code = "INVALID_ARGUMENT"


class UnknownModel(OpenInferenceError):
    """There is no such model, no such version of it, or no such route."""

    http_status = 404
    grpc_code = "NOT_FOUND"


class TooLarge(OpenInferenceError):
    """The body is larger than this server reads; nothing of it was kept."""

    http_status = 413
    grpc_code = "RESOURCE_EXHAUSTED"


class Overloaded(OpenInferenceError):
    """More requests are under way than this server answers in time."""

    http_status = 429
    grpc_code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Disconnected(OpenInferenceError):
    """The caller went away before its request was complete; counted, never answered."""

    http_status = 499
    grpc_code = "CANCELLED"


class PredictorFailed(OpenInferenceError):
    """The predictor answered with an error, or with something that is no answer."""

    http_status = 502


class NotReady(OpenInferenceError):
    """The model cannot answer now; it may later."""

    http_status = 503
    grpc_code = "UNAVAILABLE"
    retry_after_s = 1.0


class FeaturesUnavailable(OpenInferenceError):
    """The features could not be read; the caller's own fallback is better than our guess."""

    http_status = 503
    grpc_code = "UNAVAILABLE"
    retry_after_s = 1.0


class DeadlinePassed(OpenInferenceError):
    """The request's deadline passed before there was an answer."""

    http_status = 504
    grpc_code = "DEADLINE_EXCEEDED"

    def after(self, allowed_s: float) -> DeadlinePassed:
        """Return the same with the time that there was; it may have been told to others, who had more or less.

        >>> DeadlinePassed("there was no answer").after(0.05).message
        'there was no answer: 50 ms were allowed'
        """
        allowed = f"{allowed_s * 1000:.3f}".rstrip("0").rstrip(".")
        return DeadlinePassed(f"{self.message}: {allowed} ms were allowed")


class InternalError(OpenInferenceError):
    """A fault nobody foresaw; the caller learns the id under which it was logged."""
