"""Engines: each adds events to the same tiles with the same fold."""
