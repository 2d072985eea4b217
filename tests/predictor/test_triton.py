"""The configuration is Triton's: its own message type reads it, and it says what was asked for."""

import json
import subprocess
import sys

import pytest

from predictor.pbtxt import read, written
from predictor.triton import Serving, labels_file, model_config, model_metadata, served_by, unfit

COLUMNS = [{"name": "amount", "dtype": "float32", "unit": "euro"}, {"name": "age", "dtype": "float32"}]
PARSE = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
config = text_format.Parse(sys.stdin.read(), model_config_pb2.ModelConfig())
print(json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=True)))
"""


def config(**changed):
    given = {"production": 3, "versions": (4, 3), "labelled": ["p"], "serving": Serving(accelerator="tensorrt-fp16")}
    return model_config("small", COLUMNS, ["p", "q"], "f" * 64, **given | changed)


@pytest.fixture(scope="module")
def as_triton_reads():
    asked = [sys.executable, "-c", PARSE]
    done = subprocess.run(asked, input=written(config()), capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_tritons_own_message_reads_every_field(as_triton_reads):
    found = as_triton_reads
    assert found["version_policy"] == {"specific": {"versions": ["3", "4"]}}
    assert (found["backend"], found["platform"], found["max_batch_size"]) == ("onnxruntime", "onnxruntime_onnx", 16384)
    assert found["input"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": ["2"]}]
    first, second = found["output"]
    assert first == {
        "name": "p",
        "data_type": "TYPE_FP32",
        "dims": ["1"],
        "reshape": {},
        "label_filename": "p_labels.txt",
    }
    assert "label_filename" not in second
    assert found["instance_group"] == [{"count": 1}]  # KIND_AUTO is the default
    assert found["dynamic_batching"] == {
        "preferred_batch_size": [64, 256],
        "max_queue_delay_microseconds": "100",
        "default_queue_policy": {
            "default_timeout_microseconds": "1000000",
            "allow_timeout_override": True,
            "max_queue_size": 1024,
        },
    }
    (accelerator,) = found["optimization"]["execution_accelerators"]["gpu_execution_accelerator"]
    shapes = {"min": "features:1x2", "opt": "features:256x2", "max": "features:16384x2"}
    profile = {f"trt_profile_{which}_shapes": shape for which, shape in shapes.items()}
    assert accelerator == {"name": "tensorrt", "parameters": {"precision_mode": "FP16", **profile}}
    assert [sample["batch_size"] for sample in found["model_warmup"]] == [1, 256]
    zeros = {"data_type": "TYPE_FP32", "dims": ["2"], "zero_data": True}
    assert all(sample["inputs"] == {"features": zeros} for sample in found["model_warmup"])
    told = {key: value["string_value"] for key, value in found["parameters"].items()}
    assert (told["headrace_production"], told["headrace_fingerprint"]) == ("3", "f" * 64)
    assert [column["name"] for column in json.loads(told["headrace_columns"])] == ["amount", "age"]
    assert told["intra_op_thread_count"] == "1"


def test_what_is_written_is_read_back():
    assert read(written(config())) == config()
    assert served_by(config()) == [3, 4]


def test_the_metadata_is_that_of_a_model_that_batches():
    assert model_metadata(config()) == {
        "name": "small",
        "versions": ["3", "4"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, 1]} for name in ("p", "q")],
    }


def test_without_an_accelerator_there_is_no_word_of_one():
    assert "optimization" not in config(serving=Serving())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"max_batch_size": 0}, "max_batch_size is 0, needs at least 1"),
        ({"max_queue_size": 0}, "max_queue_size is 0, needs at least 1"),
        ({"max_queue_delay_us": -1}, "max_queue_delay_us is -1, needs at least 0"),
        ({"queue_timeout_us": 0}, "queue_timeout_us is 0, needs at least 1"),
        ({"instances": 0}, "instances is 0, needs at least 1"),
        ({"threads": 0}, "threads is 0, needs at least 1"),
        ({"preferred_batch_size": (8, 99), "max_batch_size": 64}, "has 99, needs 1 to max_batch_size 64"),
        ({"accelerator": "gpu"}, "accelerator is 'gpu', needs one of tensorrt-fp16, tensorrt-fp32"),
    ],
)
def test_settings_that_triton_would_not_take(changed, said):
    with pytest.raises(ValueError, match=said):
        Serving(**changed)


def test_preferred_sizes_are_in_order_and_once():
    assert Serving(preferred_batch_size=(256, 8, 8)).preferred_batch_size == (8, 256)


def test_our_own_configuration_is_fit_whatever_its_numbers():
    assert unfit(config(), config()) == ""
    assert unfit(config(serving=Serving(max_batch_size=9, preferred_batch_size=(3,), instances=7)), config()) == ""


OPTIMISED = {"execution_accelerators": {"gpu_execution_accelerator": [{"trt_plugin": "x.so"}]}}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"backend": "python"}, "has backend 'python', needs 'onnxruntime'"),
        ({"platform": "ensemble"}, "has platform 'ensemble', needs 'onnxruntime_onnx'"),
        ({"name": "other"}, "has name 'other', needs 'small'"),
        ({"version_policy": {"latest": {"num_versions": 9}}}, "has latest, num_versions, needs the fields that"),
        (
            {"version_policy": {"specific": {"versions": [3, 9]}}},
            "has version_policy {'specific': {'versions': [3, 9]}}",
        ),
        ({"version_policy": 1}, "has version_policy 1, needs {'specific': {'versions': [3, 4]}}"),
        ({"input": [1]}, "has input [1], needs [{'name': 'features'"),
        ({"output": [{"name": "p", "label_filename": "../x"}]}, "has output [{'name': 'p', 'label_filename': '../x'}]"),
        ({"output": None}, "has output None, needs [{'name': 'p'"),
        ({"parameters": {}}, "has headrace_production None, needs '3'"),
        ({"parameters": {"headrace_production": "3"}}, "has headrace_production '3', needs '3'"),
        ({"parameters": [3]}, "has headrace_production None, needs '3'"),
        ({"parameters": {"EXECUTION_ENV_PATH": {"string_value": "/x"}}}, "has EXECUTION_ENV_PATH, needs the fields"),
        ({"model_warmup": [{"inputs": {"features": {"input_data_file": "../../x"}}}]}, "has input_data_file, needs"),
        ({"optimization": OPTIMISED}, "has trt_plugin, needs the fields that"),
        ({"default_model_filename": "../x.onnx"}, "has default_model_filename, needs the fields that"),
        ({"model_operations": {"op_library_filename": "x"}}, "has model_operations, op_library_filename, needs the"),
        ({"max_batch_size": "many"}, "has max_batch_size 'many', needs 1 or more"),
        ({"max_batch_size": 0}, "has max_batch_size 0, needs 1 or more"),
    ],
)
def test_a_configuration_that_would_load_something_else(changed, said):
    assert said in unfit(config() | changed, config())


def test_labels_lie_beside_the_configuration():
    assert labels_file("p") == config()["output"][0]["label_filename"]
