"""An exported model as every server here runs it: ONNX Runtime on one thread, float32 [rows, columns] in."""

from __future__ import annotations

import onnxruntime


class Model:
    """A model's session; `score` returns its first output as float32 [rows]."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name

    def score(self, matrix):
        """Return one value per row."""
        return self._session.run(None, {self._name: matrix})[0].reshape(-1)
