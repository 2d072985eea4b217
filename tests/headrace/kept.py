"""What a process found of its loops: how many were kept, how many it had to make, and for which processor."""

from __future__ import annotations

TOLD = """
import json
from importlib import import_module
import numba
from headrace.compiled import MODULES
held = [value for name in MODULES for value in vars(import_module(name)).values() if hasattr(value, "py_func")]
stats = [loop.stats for loop in held if loop.signatures]
print(json.dumps({
    "kept": sum(sum(each.cache_hits.values()) for each in stats),
    "made": sum(sum(each.cache_misses.values()) for each in stats),
    "from": numba.config.CACHE_DIR,
    "for": numba.config.CPU_NAME,
}))
"""
