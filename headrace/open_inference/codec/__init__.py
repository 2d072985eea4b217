"""Bodies in words of the protocol: tensors from and to JSON and raw bytes, and from and to whole bodies."""
