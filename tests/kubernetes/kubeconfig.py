"""A kubeconfig that leads to a server of the tests, and which user it logs in as."""

from __future__ import annotations

import json
from pathlib import Path

SPACE = "shop"


def write_kubeconfig(path: Path, url: str, authority: str, token: str) -> Path:
    """Write one with the contexts `stand-in`, in the namespace of the tests, and `elsewhere`; return its path.

    `authority` is the PEM of who signed the server's certificate.
    """
    ca_file = path.with_name(f"{path.name}-ca.pem")
    ca_file.write_text(authority)
    contexts = [
        {"name": name, "context": {"cluster": "here", "user": "deployer", "namespace": space}}
        for name, space in (("stand-in", SPACE), ("elsewhere", "default"))
    ]
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "deployer", "user": {"token": token}}],
        "contexts": contexts,
        "current-context": "stand-in",
    }
    path.write_text(json.dumps(made))
    return path
