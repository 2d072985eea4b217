"""KServe's own clients as judges of a running echo server: `python judge_kserve.py HTTP_HOST:PORT GRPC_HOST:PORT`.

It runs in a process of its own, because kserve's protobuf files clash with tritonclient's.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ARRAYS = {
    "BOOL": np.array([True, False]),
    "INT8": np.array([-128, 127], "i1"),
    "UINT16": np.array([0, 65535], "u2"),
    "INT32": np.array([-5, 6], "i4"),
    "INT64": np.array([-(2**62), 7], "i8"),
    "UINT64": np.array([0, 2**63], "u8"),
    "FP16": np.array([0.5, -2], "f2"),
    "FP32": np.array([0.25, 3], "f4"),
    "FP64": np.array([0.1, 1e300], "f8"),
    "BYTES": np.array([b"a", "käse".encode()], dtype=object),
}


def request(datatype: str, array: np.ndarray, binary_in: bool, binary_out: bool) -> InferRequest:
    """Return a request whose answer comes back in the form that is asked for."""
    tensor = InferInput("a", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary_in)
    outputs = [RequestedOutput("a", {"binary_data": binary_out})]
    return InferRequest("echo", [tensor], "r7", request_outputs=outputs)


def same(said: Any, datatype: str, array: np.ndarray) -> None:
    """The answer is the request's, under its id."""
    assert (said.id, said.model_name, said.model_version or "1") == ("r7", "echo", "1")  # its REST side drops versions
    (output,) = said.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("a", datatype, list(array.shape))
    found = output.as_numpy()
    if datatype == "BYTES":
        found = np.array([x.encode() if isinstance(x, str) else x for x in found], dtype=object)
    np.testing.assert_array_equal(found, array)


async def rest(base: str) -> None:
    """Health and inference over REST, v2 and v1."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(base)
        assert await client.is_server_ready(base)
        assert await client.is_model_ready(base, "echo")
        for datatype, array in ARRAYS.items():
            sides = (True,) if datatype == "FP16" else (True, False)
            for binary_in in sides:
                for binary_out in sides:
                    asked = request(datatype, array, binary_in, binary_out)
                    same(await client.infer(base, asked, model_name="echo"), datatype, array)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await client.infer(base, request("FP64", ARRAYS["FP64"], False, False), model_name="nobody")
        assert "model 'nobody' is unknown, needs one of echo" in str(refused.value)
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        assert await client.is_server_live(base)
        assert await client.is_model_ready(base, "echo")
        said = await client.infer(base, {"instances": [{"a": 1}]}, model_name="echo")
        assert said == {"predictions": [{"a": 1}]}


async def over_grpc(address: str) -> None:
    """Health and inference over gRPC."""
    async with InferenceGRPCClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("echo")
        for datatype, array in ARRAYS.items():
            same(await client.infer(request(datatype, array, True, True)), datatype, array)
            if datatype != "FP16":
                same(await client.infer(request(datatype, array, False, False)), datatype, array)
        with pytest.raises(grpc.RpcError) as refused:
            await client.is_model_ready("nobody")
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


if __name__ == "__main__":
    asyncio.run(rest(f"http://{sys.argv[1]}"))
    asyncio.run(over_grpc(sys.argv[2]))
