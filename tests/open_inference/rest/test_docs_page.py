"""The page at /docs: whole in itself, told to a browser to stay so, and it leads only to what is there."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.open_inference.live import Live
from tests.open_inference.rest.test_routes import call


def test_the_page_needs_nobody_else(echo: Live) -> None:
    page = call(echo, "GET", "/docs").body.decode()
    assert not re.search(r"https?:|//\w|src=|@import|\burl\(|style=\"|\son\w+=\"", page.replace("// ", ""))
    assert page.startswith("<!doctype html>")


def test_a_browser_runs_its_script_and_style_and_no_others(echo: Live) -> None:
    said = call(echo, "GET", "/docs/")
    policy = dict(part.split(" ", 1) for part in said.headers["content-security-policy"].split("; "))
    for kind in ("script", "style"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>".encode(), said.body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    assert said.headers["content-type"] == "text/html; charset=utf-8"
    assert call(echo, "HEAD", "/docs").headers["content-length"] == str(len(said.body))


def test_what_it_reads_is_there(echo: Live) -> None:
    page = call(echo, "GET", "/docs").body.decode()
    read = {"openapi.json", *re.findall(r'base \+ "/([^"]+)"', page)}
    assert read == {"openapi.json", "v2/health/ready", "v2/models"}
    for path in read:
        assert call(echo, "GET", f"/{path}").status == 200
