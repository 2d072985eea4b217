"""From a trained torch module to TorchScript: for servers that read nothing newer, such as TorchServe.

torch has deprecated TorchScript, and its servers still need it: it is the one format that a
server with an older torch reads. Our own predictor serves ONNX and loads none of these files.
What a file says of itself (fingerprint, columns, outputs) lies inside it, as in the ONNX file.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headrace.features import FeatureView
from predictor.repository import ModelRefused

SAID = "headrace.json"  # the file inside the TorchScript archive
TRIED = (1, 2, 17)  # numbers of rows that a traced module must answer as the module does


@dataclass(frozen=True, slots=True)
class Said:
    """What a TorchScript file says of its model."""

    fingerprint: str
    columns: list[str]
    outputs: list[str]


@dataclass(frozen=True, slots=True)
class Script:
    """A TorchScript module, what it says of itself, and the file that holds both."""

    module: Any
    said: Said
    content: bytes

    @classmethod
    def of(cls, module: nn.Module, fingerprint: str, columns: Sequence[str], outputs: Sequence[str]) -> Script:
        """Trace a module that takes float32 [rows, columns] and gives one tensor [rows] per output.

        Raises ModelRefused for one whose trace answers another number of rows otherwise than the module:
        its graph depends on what was in the rows.
        """
        module = module.eval()
        with _quiet(), torch.inference_mode():
            traced = torch.jit.trace(module, torch.zeros((2, len(columns))))
            for rows in TRIED:
                tried = torch.linspace(-3, 3, rows * len(columns)).reshape(rows, -1)
                if not _alike(traced(tried), module(tried)):
                    raise ModelRefused(f"the traced module answers {rows} rows otherwise, needs one graph for all rows")
            said, written = Said(fingerprint, list(columns), list(outputs)), io.BytesIO()
            torch.jit.save(traced, written, _extra_files={SAID: json.dumps(asdict(said)).encode()})
        return cls(traced, said, written.getvalue())

    @classmethod
    def open(cls, path: Path | str) -> Script:
        """Read a file that `save` wrote; raises ModelRefused for any other. They are code."""
        content, held = Path(path).read_bytes(), {SAID: ""}
        try:
            with _quiet():
                module = torch.jit.load(io.BytesIO(content), map_location="cpu", _extra_files=held)
        except RuntimeError as wrong:
            raise ModelRefused(f"{Path(path).name} is not TorchScript that torch {torch.__version__} reads") from wrong
        try:
            said: Mapping[str, Any] = json.loads(held[SAID])
            return cls(module, Said(said["fingerprint"], said["columns"], said["outputs"]), content)
        except (ValueError, KeyError, TypeError) as wrong:
            raise ModelRefused(
                f"{Path(path).name} does not say its fingerprint, columns and outputs, needs them: "
                "write it with `headrace train --torchscript`"
            ) from wrong

    def save(self, path: Path | str) -> Path:
        """Write the file; return its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)
        return path

    def run(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of float32 [rows, columns] by name."""
        with torch.inference_mode():
            given = self.module(torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)))
        ours = given if isinstance(given, tuple) else (given,)
        return {name: one.numpy() for name, one in zip(self.said.outputs, ours, strict=True)}


def save_torchscript(module: nn.Module, view: FeatureView, outputs: Sequence[str], path: Path | str) -> Path:
    """Write a module trained on `view` as TorchScript; returns the path, raises ModelRefused as `Script.of`."""
    return Script.of(module, view.fingerprint, view.names, outputs).save(path)


def _alike(one: Any, other: Any) -> bool:
    pairs = zip(*(given if isinstance(given, tuple) else (given,) for given in (one, other)), strict=True)
    return all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in pairs)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated is said above, once
        yield
