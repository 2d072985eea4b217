"""Triton's words for a model: its configuration and its metadata, in the JSON that its server answers.

Requests of several callers are joined into batches (`max_batch_size` above 0), so the first
dimension is not in `dims`. A model answers [rows]; Triton cannot say so of a model that batches,
and gives [rows, 1], by the reshape that its own ONNX backend writes where it completes such a
configuration. A request waits for others at most the queue delay; one that finds the queue full,
or waits longer than the queue's timeout, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Columns = Sequence[Mapping[str, Any]]
COMPARED = ("name", "dtype", "missing", "source")
INPUT, BACKEND, PLATFORM = "features", "onnxruntime", "onnxruntime_onnx"
PRODUCTION, FINGERPRINT, COLUMNS = "headrace_production", "headrace_fingerprint", "headrace_columns"
THREADS = "intra_op_thread_count"  # ONNX Runtime's own word, in Triton's backend and in ours

_COMPARED = ("name", "backend", "platform", "version_policy", "input", "output")

#: Execution accelerators and their precision; on a machine without a GPU they are without effect.
ACCELERATORS = {"tensorrt-fp16": "FP16", "tensorrt-fp32": "FP32"}


@dataclass(frozen=True, slots=True)
class Serving:
    """How a model is served: batches in rows, the queue in requests, times in microseconds.

    `max_batch_size` also bounds a single request. Batches of other requests are joined up to the largest
    of `preferred_batch_size`; one below them waits `max_queue_delay_us` for more. `instances` is per device,
    `threads` those of one run on the processor: requests run side by side, and a small network gains nothing
    from more. Raises ValueError for what Triton would not take.
    """

    max_batch_size: int = 16_384
    preferred_batch_size: tuple[int, ...] = (64, 256)
    max_queue_delay_us: int = 100
    max_queue_size: int = 1024
    queue_timeout_us: int = 1_000_000
    instances: int = 1
    threads: int = 1
    accelerator: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "preferred_batch_size", tuple(sorted(set(self.preferred_batch_size))))
        for name in (
            "max_batch_size",
            "max_queue_delay_us",
            "max_queue_size",
            "queue_timeout_us",
            "instances",
            "threads",
        ):
            least = 0 if name == "max_queue_delay_us" else 1
            if (found := getattr(self, name)) < least:
                raise ValueError(f"{name} is {found}, needs at least {least}")
        if outside := [size for size in self.preferred_batch_size if not 1 <= size <= self.max_batch_size]:
            raise ValueError(f"preferred_batch_size has {outside[0]}, needs 1 to max_batch_size {self.max_batch_size}")
        if self.accelerator and self.accelerator not in ACCELERATORS:
            raise ValueError(f"accelerator is {self.accelerator!r}, needs one of {', '.join(ACCELERATORS)}")


def model_config(
    name: str,
    columns: Columns,
    outputs: Iterable[str],
    fingerprint: str,
    *,
    production: int = 1,
    versions: Collection[int] = (1,),
    serving: Serving = Serving(),
    labelled: Collection[str] = (),
) -> dict[str, Any]:
    """Return the configuration of an ONNX model `features` FP32 [rows, columns] -> outputs FP32 [rows].

    `versions` are those that are loaded, `production` the one whose fingerprint and columns are told;
    `labelled` names the outputs that have a file of labels.
    """
    optimised = {"optimization": _tensorrt(serving, len(columns))} if serving.accelerator else {}
    warm = {1, *serving.preferred_batch_size[-1:]}
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "max_batch_size": serving.max_batch_size,
        "version_policy": {"specific": {"versions": sorted(versions)}},
        "input": [{"name": INPUT, "data_type": "TYPE_FP32", "dims": [len(columns)]}],
        "output": [_output(output, output in labelled) for output in outputs],
        "instance_group": [{"count": serving.instances, "kind": "KIND_AUTO"}],
        "dynamic_batching": {
            "preferred_batch_size": list(serving.preferred_batch_size),
            "max_queue_delay_microseconds": serving.max_queue_delay_us,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": serving.queue_timeout_us,
                "allow_timeout_override": True,
                "max_queue_size": serving.max_queue_size,
            },
        },
        **optimised,
        "model_warmup": [_warmup(rows, len(columns)) for rows in sorted(warm)],
        "parameters": {
            PRODUCTION: {"string_value": str(production)},
            FINGERPRINT: {"string_value": fingerprint},
            COLUMNS: {"string_value": told(columns)},
            THREADS: {"string_value": str(serving.threads)},
        },
    }


def model_metadata(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Triton's server tells of a model with this configuration."""
    batched = config["max_batch_size"] > 0

    def tensors(side: str) -> list[dict[str, Any]]:
        return [
            {
                "name": tensor["name"],
                "datatype": tensor["data_type"].removeprefix("TYPE_"),
                "shape": [-1, *tensor["dims"]] if batched else list(tensor["dims"]),
            }
            for tensor in config[side]
        ]

    return {
        "name": config["name"],
        "versions": [str(version) for version in served_by(config)],
        "platform": config["platform"],
        "inputs": tensors("input"),
        "outputs": tensors("output"),
    }


def served_by(config: Mapping[str, Any]) -> list[int]:
    """Return the versions that a configuration has loaded."""
    return list(config["version_policy"]["specific"]["versions"])


def unfit(found: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Say what a configuration has that is not as in ours; nothing where it may be served.

    Another backend would run another file, and further fields can name libraries and files to load. How large
    batches and queues are is not compared.
    """
    if further := sorted(set(_names(found)) - _NAMES):
        return f"has {', '.join(further)}, needs the fields that headrace model config writes"
    told, need = found.get("parameters"), ours["parameters"]
    compared = {key: (found.get(key), ours[key]) for key in _COMPARED}
    compared |= {
        key: (told.get(key) if isinstance(told, Mapping) else None, need[key]) for key in (PRODUCTION, FINGERPRINT)
    }
    for what, (given, needed) in compared.items():
        if given != needed:
            return f"has {what} {_short(given)}, needs {_short(needed)}"
    rows = found.get("max_batch_size")
    return "" if isinstance(rows, int) and rows > 0 else f"has max_batch_size {rows!r}, needs 1 or more"


def told(columns: Columns) -> str:
    """Return what a transformer compares with its view, as JSON: each column's name, dtype, missing value and source.

    >>> told([{"name": "amount", "unit": "euro"}])
    '[{"name": "amount"}]'
    """
    return json.dumps([{key: column[key] for key in COMPARED if key in column} for column in columns])


def labels_file(output: str) -> str:
    """Return the name of an output's file of labels, beside the configuration."""
    return f"{output}_labels.txt"


def _output(name: str, labelled: bool) -> dict[str, Any]:
    output = {"name": name, "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}
    return output | {"label_filename": labels_file(name)} if labelled else output


def _tensorrt(serving: Serving, width: int) -> dict[str, Any]:
    # Without the range of rows TensorRT builds its engine anew, for seconds, whenever a larger batch comes.
    usual = max(serving.preferred_batch_size, default=1)
    rows = {"min": 1, "opt": usual, "max": serving.max_batch_size}
    shapes = {f"trt_profile_{which}_shapes": f"{INPUT}:{number}x{width}" for which, number in rows.items()}
    parameters = {"precision_mode": ACCELERATORS[serving.accelerator], **shapes}
    accelerator = {"name": "tensorrt", "parameters": parameters}
    return {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}


def _warmup(rows: int, width: int) -> dict[str, Any]:
    zeros = {"data_type": "TYPE_FP32", "dims": [width], "zero_data": True}
    return {"name": f"rows-{rows}", "batch_size": rows, "inputs": {INPUT: zeros}}


def _short(value: Any) -> str:
    said = value.get("string_value", value) if isinstance(value, Mapping) else value
    return repr(said) if len(repr(said)) < 200 else repr(said)[:200] + "..."


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from value
        for inner in value.values():
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


#: Every field that is written here, at any depth, and every key of a map.
_NAMES = frozenset(
    name
    for accelerator in ACCELERATORS
    for name in _names(model_config("", [], ["o"], "", serving=Serving(accelerator=accelerator), labelled=["o"]))
)
