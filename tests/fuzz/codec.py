"""Fuzzing the codecs by coverage: `python -m tests.fuzz.codec TARGET --seconds 3600`, in an environment with atheris.

    python3.11 -m venv fuzz && fuzz/bin/pip install atheris==3.0.0 numba numpy orjson 'protobuf<7'
    PYTHONPATH=. fuzz/bin/python -m tests.fuzz.codec rest --seconds 3600

TARGET is one of tests/fuzz/targets.py, or all of them in turn with the seconds shared. What ends a target, takes longer
than 10 s or more than 1 GB is written to a file crash-*, timeout-* or oom-* and ends the run with another code than 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["headrace.open_inference", "tests.fuzz"]):
    from tests.fuzz.targets import TARGETS
from headrace.open_inference.codec.json_numbers import prepare

CORPUS = Path(__file__).with_name("corpus")


def main() -> int:
    """Fuzz for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", help="where inputs that reach something new are kept; else they are thrown away")
    told = parser.parse_args()
    if told.target == "all":
        each = str(max(1, told.seconds // len(TARGETS)))
        again = [sys.executable, "-m", "tests.fuzz.codec"]
        return max(abs(subprocess.call([*again, target, "--seconds", each])) for target in TARGETS)
    prepare()  # not instrumented, for Numba compiles no such code, and not within the seconds of an input
    with tempfile.TemporaryDirectory() as found:
        corpora = [told.corpus or found, str(CORPUS / told.target)]
        limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=4096", f"-max_total_time={told.seconds}"]
        atheris.Setup([sys.argv[0], *limits, *corpora], TARGETS[told.target])
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
