"""The backend `onnxruntime`, on the processor."""
