"""The backend `pytorch`, on the processor."""
