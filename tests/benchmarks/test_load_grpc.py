"""The gRPC load generator against grpc's own server: large messages, many connections, a call that fails."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from benchmarks.load import Refused
from benchmarks.load_grpc import ask_grpc, call, put_grpc_load

METHOD = "/a.Service/Call"
LARGE = 200_000  # more than HTTP/2 lets through before the server says so


@pytest.fixture(scope="module")
def address():
    """A server that answers with what it was sent, and refuses an empty message."""

    def answer(message, context):
        if not message:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "it is empty")
        return message

    server = grpc.server(ThreadPoolExecutor(2))
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize("size", [1, LARGE])
def test_a_call_is_answered(address, size):
    assert ask_grpc(address, call(METHOD, b"x" * size)) == b"x" * size


def test_every_connection_asks_again_and_again(address):
    load = put_grpc_load(address, [call(METHOD, b"a"), call(METHOD, b"b" * LARGE)], 4, 0.1)
    assert load.latencies_ms.size > 8
    assert (load.latencies_ms > 0).all()


def test_a_call_that_fails_is_no_answer(address):
    with pytest.raises(Refused, match=r"a call failed: .*it is empty"):
        put_grpc_load(address, [call(METHOD, b"")], 2, 0.1)
