"""KServe's own clients as judges of a running transformer: `python judge_kserve.py HTTP GRPC EXPECTED.npz`.

Every check is an assertion; the exit code is the verdict. A process of its own: kserve's protobuf
files clash with tritonclient's.
"""

from __future__ import annotations

import asyncio
import sys

import kserve
import numpy as np
from kserve.inference_client import RESTConfig

OUTPUT, KINDS = "fraud_probability", {"i": "INT64", "f": "FP64"}
Expected = dict[str, np.ndarray]


def request(expected: Expected, rows: slice, binary: bool) -> kserve.InferRequest:
    """Return kserve's own request."""
    inputs = []
    for name, column in expected.items():
        if name.startswith("asked."):
            values = column[rows]
            inputs.append(kserve.InferInput(name.removeprefix("asked."), [values.size], KINDS[values.dtype.kind]))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
    return kserve.InferRequest("fraud", inputs, request_id="r8")


def same(answer: kserve.InferResponse, expected: Expected, rows: slice) -> None:
    """Check an answer."""
    assert (answer.model_name, answer.id) == ("fraud", "r8")
    (output,) = answer.outputs
    assert (output.name, output.datatype) == (OUTPUT, "FP32")
    np.testing.assert_allclose(output.as_numpy(), expected["probabilities"][rows], rtol=0, atol=1e-6)


async def rest(address: str, expected: Expected) -> None:
    """Judge v2 and v1 over HTTP."""
    url = f"http://{address}"
    client = kserve.InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "fraud")
    for rows in (slice(0, 1), slice(None)):
        for binary in (False, True):
            asked = request(expected, rows, binary)
            answer = await client.infer(url, asked, model_name="fraud", headers={"headrace-deadline-ms": "20000"})
            assert isinstance(answer, kserve.InferResponse)
            same(answer, expected, rows)
    await client.close()
    old = kserve.InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    assert await old.is_model_ready(url, "fraud")
    columns = {name.removeprefix("asked."): v.tolist() for name, v in expected.items() if name.startswith("asked.")}
    instances = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    said = await old.infer(url, {"instances": instances}, model_name="fraud")
    assert isinstance(said, dict)
    scores = [row[OUTPUT] for row in said["predictions"]]
    np.testing.assert_allclose(scores, expected["probabilities"], rtol=0, atol=1e-6)
    await old.close()


async def grpc(address: str, expected: Expected) -> None:
    """Judge v2 over gRPC."""
    client = kserve.InferenceGRPCClient(address, retries=0)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("fraud")
    for rows in (slice(0, 1), slice(None)):
        for binary in (False, True):
            same(await client.infer(request(expected, rows, binary), timeout=20), expected, rows)
    await client.close()


async def main(http_address: str, grpc_address: str, path: str) -> None:
    """Judge."""
    with np.load(path) as held:
        expected = dict(held)
    await rest(http_address, expected)
    await grpc(grpc_address, expected)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
