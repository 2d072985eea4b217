"""Triton's own clients as judges of a running transformer: `python judge_triton.py KIND HOST:PORT EXPECTED.npz`.

KIND is http, http.aio, grpc or grpc.aio; the file holds what to ask and what is right. Every check is
an assertion; the exit code is the verdict. A process of its own: tritonclient's protobuf files clash
with kserve's.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from typing import Any

import numpy as np

OUTPUT, PATIENT_S = "fraud_probability", 20.0
KINDS = {"i": "INT64", "f": "FP64"}


async def got(value: Any) -> Any:
    """Await what the aio clients return; the others return it right away."""
    return await value if inspect.isawaitable(value) else value


class Judge:
    """One kind of client, and what it should be told."""

    def __init__(self, kind: str, address: str, expected: dict[str, np.ndarray]) -> None:
        self.http = kind.startswith("http")
        self.module = importlib.import_module(f"tritonclient.{kind}")
        self.client = self.module.InferenceServerClient(address)
        self.expected = expected
        self.columns = {name.removeprefix("asked."): v for name, v in expected.items() if name.startswith("asked.")}

    async def judge(self) -> None:
        await self.about()
        rows = self.expected["probabilities"].size
        for asked in (slice(0, 1), slice(rows - 1, rows), slice(0, rows)):
            for binary_in in (True, False) if self.http else (True,):
                for binary_out in (True, False) if self.http else (True,):
                    await self.scores(asked, binary_in, binary_out)
                    await self.extras(asked, binary_in, binary_out)
        await self.columns_of_one()
        await got(self.client.close())

    async def about(self) -> None:
        ask, plain = self.client, {} if self.http else {"as_json": True}
        assert await got(ask.is_server_live())
        assert await got(ask.is_server_ready())
        assert await got(ask.is_model_ready("fraud"))
        assert (await got(ask.get_server_metadata(**plain)))["name"] == "headrace-transformer"
        model = await got(ask.get_model_metadata("fraud", **plain))
        assert (model["name"], model["platform"]) == ("fraud", "headrace_transformer")
        assert [tensor["name"] for tensor in model["inputs"]] == self.expected["request_names"].tolist()
        kinds = {tensor["name"]: tensor["datatype"] for tensor in model["inputs"]}
        assert (kinds["cc_num"], kinds["amount"], kinds["datetime"]) == ("INT64", "FP64", "INT64")
        outputs = [tensor["name"] for tensor in model["outputs"]]
        assert outputs == [OUTPUT, "features", "feature_age_ms", "row_status", "stage_ms"]
        config = await got(ask.get_model_config("fraud", **plain))
        config = config if self.http else config["config"]
        said = config["parameters"]["headrace_fingerprint"]["string_value"]
        assert said == str(self.expected["fingerprint"])

    async def infer(self, asked: slice, outputs: list[str], binary_in: bool, binary_out: bool, **shape: Any) -> Any:
        inputs = []
        for name, column in self.columns.items():
            values = column[asked].reshape(shape.get("shape", (-1,)))
            inputs.append(self.module.InferInput(name, list(values.shape), KINDS[values.dtype.kind]))
            inputs[-1].set_data_from_numpy(values, **({"binary_data": binary_in} if self.http else {}))
        side = {"binary_data": binary_out} if self.http else {}
        wanted = [self.module.InferRequestedOutput(name, **side) for name in outputs] or None
        late = {"headers": {"headrace-deadline-ms": "20000"}} if self.http else {"client_timeout": PATIENT_S}
        return await got(self.client.infer("fraud", inputs, outputs=wanted, request_id="r7", **late))

    def same(self, found: np.ndarray, asked: slice) -> None:
        right = self.expected["probabilities"][asked]
        assert found.shape == right.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-6)

    async def scores(self, asked: slice, binary_in: bool, binary_out: bool) -> None:
        for outputs in ([OUTPUT], []):
            result = await self.infer(asked, outputs, binary_in, binary_out)
            self.same(result.as_numpy(OUTPUT), asked)
            said = result.get_response() if self.http else result.get_response(as_json=True)
            assert (said["model_name"], said["id"]) == ("fraud", "r7")
            assert [output["name"] for output in said["outputs"]] == [OUTPUT]

    async def extras(self, asked: slice, binary_in: bool, binary_out: bool) -> None:
        outputs = ["row_status", "features", OUTPUT, "stage_ms", "feature_age_ms"]
        result = await self.infer(asked, outputs, binary_in, binary_out)
        said = result.get_response() if self.http else result.get_response(as_json=True)
        assert [output["name"] for output in said["outputs"]] == outputs
        self.same(result.as_numpy(OUTPUT), asked)
        np.testing.assert_array_equal(result.as_numpy("features"), self.expected["features"][asked])
        np.testing.assert_array_equal(result.as_numpy("feature_age_ms"), self.expected["ages"][asked])
        # The client returns JSON strings as str and binary ones as bytes.
        status = [x.decode() if isinstance(x, bytes) else x for x in result.as_numpy("row_status")]
        assert status == self.expected["status"][asked].tolist()
        stages = result.as_numpy("stage_ms")
        assert stages.shape == (4,)
        assert (stages > 0).all()

    async def columns_of_one(self) -> None:
        """A tensor may be [n, 1] too."""
        result = await self.infer(slice(0, 3), [OUTPUT], True, True, shape=(-1, 1))
        self.same(result.as_numpy(OUTPUT), slice(0, 3))


async def main(kind: str, address: str, expected: str) -> None:
    """Judge."""
    with np.load(expected) as held:
        await Judge(kind, address, dict(held)).judge()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
