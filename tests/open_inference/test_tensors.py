"""Tensors made from arrays, and the package's surface."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import headrace.open_inference as package
from headrace.open_inference import DATATYPES, InferRequest, InferResponse, InvalidRequest, RequestedOutput, Tensor


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name not in ("BYTES", "BF16")])
def test_a_dtype_of_either_byte_order_chooses_its_datatype(datatype: str) -> None:
    assert Tensor.of("a", np.zeros(2, DATATYPES[datatype])).datatype == datatype
    assert Tensor.of("a", np.zeros(2, DATATYPES[datatype].newbyteorder(">"))).datatype == datatype


def test_text_of_any_kind_becomes_bytes() -> None:
    for array in (["a", "é"], [b"a", "é".encode()], np.array([["a"], ["é"]]), np.array(["a", b"\xc3\xa9"], object)):
        tensor = Tensor.of("a", array)
        assert (tensor.datatype, tensor.array.ravel().tolist()) == ("BYTES", [b"a", b"\xc3\xa9"])
        assert tensor.shape == np.shape(array)


def test_what_has_no_datatype_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Tensor.of("a", np.array([1j]))
    assert refused.value.message.startswith("tensor 'a' is complex128, needs a type among BOOL, UINT8")
    with pytest.raises(InvalidRequest) as refused:
        Tensor.of("a", [b"a", None])
    assert refused.value.message == "tensor 'a' holds a NoneType, needs only str or bytes"


def test_outputs_are_found_by_name() -> None:
    assert InferRequest("m", outputs=(RequestedOutput("a"),)).wants("a")
    assert not InferRequest("m").wants("a")
    with pytest.raises(KeyError):
        InferResponse("m").output("a")


def test_the_surface_is_what_it_says() -> None:
    defined = {
        name for name, value in vars(package).items() if getattr(value, "__module__", "").startswith(package.__name__)
    }
    assert defined | {"DATATYPES"} == set(package.__all__)


def test_the_package_does_not_bring_along_what_only_servers_and_clients_need() -> None:
    code = "import sys, headrace.open_inference; print({'grpc', 'aiohttp', 'uvicorn', 'uvloop'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
