"""Triton's own clients as judges of a running echo server: `python judge_triton.py KIND HOST:PORT`.

KIND is http, http.aio, grpc or grpc.aio. Every check is an assertion; the exit code is the verdict.
It runs in a process of its own, because tritonclient's protobuf files clash with kserve's.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

ROWS = (1, 100)
ARRAYS = {
    "BOOL": lambda n: np.arange(n) % 2 == 0,
    "UINT8": lambda n: np.arange(n, dtype="u1"),
    "UINT16": lambda n: np.arange(n, dtype="u2"),
    "UINT32": lambda n: np.arange(n, dtype="u4"),
    "UINT64": lambda n: np.arange(n, dtype="u8") + np.uint64(2**63),
    "INT8": lambda n: -np.arange(n, dtype="i1"),
    "INT16": lambda n: -np.arange(n, dtype="i2"),
    "INT32": lambda n: -np.arange(n, dtype="i4"),
    "INT64": lambda n: -np.arange(n, dtype="i8") - 2**60,
    "FP16": lambda n: np.arange(n, dtype="f2") / 2,
    "BF16": lambda n: (np.arange(n, dtype="f4") / 2).astype(ml_dtypes.bfloat16),
    "FP32": lambda n: np.arange(n, dtype="f4") / 3,
    "FP64": lambda n: np.arange(n, dtype="f8") / 3,
    "BYTES": lambda n: np.array([f"käse {i}".encode() for i in range(n)], dtype=object),
}


async def got(value: Any) -> Any:
    """Await what the aio clients return; the others return it right away."""
    return await value if inspect.isawaitable(value) else value


class Judge:
    """One kind of client, asking one server."""

    def __init__(self, kind: str, address: str) -> None:
        self.http = kind.startswith("http")
        self.module = importlib.import_module(f"tritonclient.{kind}")
        self.client = self.module.InferenceServerClient(address)

    async def judge(self) -> None:
        await self.about()
        for datatype, make in ARRAYS.items():
            for rows in ROWS:
                array = make(rows).reshape(rows, 1)
                for way in self.ways(datatype):
                    await self.echoes(datatype, array, **way)
        await self.details()
        await self.statistics()
        await self.refusals()
        await got(self.client.close())

    def ways(self, datatype: str) -> list[dict[str, bool]]:
        if not self.http:
            return [{}]
        sides = (True,) if datatype in ("FP16", "BF16") else (True, False)
        return [{"binary_in": a, "binary_out": b} for a in sides for b in sides]

    async def about(self) -> None:
        ask = self.client
        assert await got(ask.is_server_live())
        assert await got(ask.is_server_ready())
        assert await got(ask.is_model_ready("echo"))
        assert await got(ask.is_model_ready("echo", "1"))
        plain = {} if self.http else {"as_json": True}
        server = await got(ask.get_server_metadata(**plain))
        assert (server["name"], server["version"]) == ("headrace", "0.1")
        assert not self.http or "binary_tensor_data" in server["extensions"]
        model = await got(ask.get_model_metadata("echo", **plain))
        assert (model["name"], model["versions"], model["platform"]) == ("echo", ["1"], "echo")
        assert [tensor["name"] for tensor in model["inputs"]][:2] == ["amount", "count"]
        config = await got(ask.get_model_config("echo", **plain))
        config = config if self.http else config["config"]
        assert config["parameters"]["headrace_fingerprint"]["string_value"] == "f" * 64
        assert config["input"][0]["data_type"] == "TYPE_FP64"
        index = await got(ask.get_model_repository_index(**plain))
        [listed] = index if self.http else index["models"]
        assert (listed["name"], listed["version"], listed["state"]) == ("echo", "1", "READY")

    async def statistics(self) -> None:
        plain = {} if self.http else {"as_json": True}
        for asked in ({}, {"model_name": "echo"}, {"model_name": "echo", "model_version": "1"}):
            (told,) = (await got(self.client.get_inference_statistics(**asked, **plain)))["model_stats"]
            assert (told["name"], told["version"]) == ("echo", "1")
            assert int(told["inference_count"]) >= int(told["execution_count"]) > 0
            taken = {stage: int(one.get("ns", 0)) for stage, one in told["inference_stats"].items()}
            assert taken["success"] == taken["compute_input"] + taken["compute_infer"] + taken["compute_output"] > 0
        for refused in (self.client.load_model, self.client.unload_model):
            with pytest.raises(InferenceServerException) as error:
                await got(refused("echo"))
            assert error.value.message().startswith("models cannot be loaded or unloaded by request: ")

    def tensor(self, array: np.ndarray, datatype: str, name: str = "a", binary: bool = True) -> Any:
        tensor = self.module.InferInput(name, list(array.shape), datatype)
        if self.http:
            tensor.set_data_from_numpy(array, binary_data=binary)
        else:
            tensor.set_data_from_numpy(array)
        return tensor

    async def echoes(self, datatype: str, array: np.ndarray, binary_in: bool = True, binary_out: bool = True) -> None:
        side = {"binary_data": binary_out} if self.http else {}
        outputs = [self.module.InferRequestedOutput("a", **side)]
        inputs = [self.tensor(array, datatype, binary=binary_in)]
        result = await got(self.client.infer("echo", inputs, outputs=outputs, request_id="r7"))
        found = result.as_numpy("a")
        assert found.shape == array.shape, (datatype, found.shape)
        if found.dtype.kind in "OSU":  # the client returns JSON strings as str and binary ones as bytes
            found = np.array([x.encode() if isinstance(x, str) else x for x in found.ravel()], dtype=object)
        np.testing.assert_array_equal(found.ravel(), array.ravel())
        said = result.get_response() if self.http else result.get_response(as_json=True)
        assert (said["model_name"], said["model_version"], said["id"]) == ("echo", "1", "r7")

    async def details(self) -> None:
        one = self.tensor(np.array([1.5]), "FP64")
        two = self.tensor(np.array([7]), "INT64", "b", binary=False)
        for inputs in ([one, two], [two, one]):
            result = await got(self.client.infer("echo", inputs, model_version="1"))
            assert (result.as_numpy("a")[0], result.as_numpy("b")[0]) == (1.5, 7)
        chosen = await got(self.client.infer("echo", [one, two], outputs=[self.module.InferRequestedOutput("b")]))
        assert chosen.as_numpy("a") is None
        if self.http:
            for coding in ("gzip", "deflate"):
                packed = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
                assert (await got(self.client.infer("echo", [one], **packed))).as_numpy("a")[0] == 1.5
            large = self.tensor(np.arange(20_000, dtype="f8"), "FP64")
            found = await got(self.client.infer("echo", [large], response_compression_algorithm="gzip"))
            assert found.as_numpy("a")[-1] == 19_999
        else:
            for coding in ("gzip", "deflate"):
                assert (await got(self.client.infer("echo", [one], compression_algorithm=coding))).as_numpy("a")[
                    0
                ] == 1.5

    async def refusals(self) -> None:
        one = self.tensor(np.array([1.5]), "FP64")
        unknown = [self.module.InferRequestedOutput("score")]
        await self.refused("model 'nobody' is unknown, needs one of echo", "nobody", [one])
        await self.refused("model 'echo' has no version '9', needs one of 1", "echo", [one], model_version="9")
        await self.refused("output 'score' is unknown, needs one of a", "echo", [one], outputs=unknown)
        await self.refused("internal error, id ", "echo", [self.tensor(np.array([4711.5]), "FP64", "broken")])
        await self.refused("the echo is gone", "echo", [self.tensor(np.array([1.5]), "FP64", "refuse")])

    async def refused(self, reason: str, model: str, inputs: list[Any], **more: Any) -> None:
        with pytest.raises(InferenceServerException) as error:
            await got(self.client.infer(model, inputs, **more))
        assert error.value.message().startswith(reason), error.value.message()


async def main(kind: str, address: str) -> None:
    """Judge."""
    await Judge(kind, address).judge()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
