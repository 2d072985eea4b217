"""The page at `/docs`: one file of ours that reads the server's own answers, and nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from headrace.open_inference.rest.answers import Answer


@cache
def docs_answer() -> Answer:
    """Return the page; a browser is told to run its script and style alone, and to ask nobody but this server."""
    page = files("headrace.open_inference.rest").joinpath("docs.html").read_bytes()
    policy = "; ".join(
        (
            "default-src 'none'",
            "connect-src 'self'",
            f"script-src {_hashed('script', page)}",
            f"style-src {_hashed('style', page)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(page)),
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    ]
    return 200, headers, page


def _hashed(kind: str, page: bytes) -> str:
    inside = re.findall(rf"<{kind}>(.*?)</{kind}>".encode(), page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in inside)
