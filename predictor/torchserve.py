"""Archives for TorchServe: a model of the repository for those who still run that server.

TorchServe has been unmaintained since 2025, and gets no security patches: new work belongs on
Triton. An archive is a zip of the TorchScript module, our handler (`torchserve_handler.py`)
and what the model says of itself. It holds code, so our own predictor never reads one; the
same TorchScript gives the same bytes, so that a checksum can stand for it.

    OUT/model-store/<model>.mar       what TorchServe loads
    OUT/config/config.properties      TorchServe's settings, in the places where KServe's runtime looks
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from headrace.runtime import Runtime
from predictor import torchserve_handler
from predictor.export import PARITY, apart
from predictor.reference import rows_like
from predictor.repository import Manifest, ModelRefused
from predictor.torchscript import Script

ENDED = (
    "TorchServe is no longer maintained and gets no security patches: use Triton for new work, and keep an archive "
    "to clusters that cannot change yet"
)
SAMPLE = 4096
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first instant a zip can name


@dataclass(frozen=True, slots=True)
class Workers:
    """How TorchServe runs the model: processes, and the requests that one of them takes at once."""

    processes: int = 1
    batch: int = 16
    delay_ms: int = 1
    timeout_s: int = 5


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that was written: its path, SHA-256, and how far its answers lie from the repository's model."""

    path: Path
    sha256: str
    parity: float


def write_archive(
    manifest: Manifest,
    model: bytes,
    module: nn.Module | Script,
    out: Path | str,
    *,
    host: str = "127.0.0.1",
    workers: Workers = Workers(),
) -> Archive:
    """Write the archive and the settings of a model that was read by `read_model`.

    `module` is the trained torch module or its TorchScript. Raises ModelRefused where it is of another view or
    answers otherwise than the repository's ONNX on rows drawn from the reference histograms.
    """
    script = module if isinstance(module, Script) else _traced(module, manifest)
    _of_one_view(manifest, script)
    parity = _parity(manifest, model, script)
    out = Path(out)
    archive = out / "model-store" / f"{manifest.name}.mar"
    content = _zipped(_contents(manifest, script, workers))
    settings = config_properties(manifest.name, host, workers)
    for path, data in ((archive, content), (out / "config" / "config.properties", settings.encode())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Archive(archive, hashlib.sha256(content).hexdigest(), parity)


def config_properties(name: str, host: str, workers: Workers = Workers()) -> str:
    """Return TorchServe's settings: inference on `host`, management on loopback, and nothing that loads more code.

    Tokens are off because TorchServe asks them of its health endpoint too, where a kubelet has none; what they would
    guard cannot be reached: no model can be registered, and management answers this machine alone.
    """
    settings = {
        "inference_address": f"http://{host}:8080",
        "management_address": "http://127.0.0.1:8081",
        "metrics_address": f"http://{host}:8082",
        "grpc_inference_address": host,
        "grpc_inference_port": 7070,
        "grpc_management_address": "127.0.0.1",
        "grpc_management_port": 7071,
        "model_store": "/mnt/models/model-store",
        "load_models": f"{name}.mar",
        "enable_model_api": "false",
        "disable_token_authorization": "true",
        "enable_envvars_config": "false",
        "install_py_dep_per_model": "false",
        "allowed_urls": "file:///mnt/models/model-store/.*",
        "ts_open_inference_protocol": "true",
        "metrics_mode": "prometheus",
        "default_workers_per_model": workers.processes,
        "default_response_timeout": workers.timeout_s,
        "job_queue_size": 100,
        "max_request_size": 6553500,
        "max_response_size": 6553500,
    }
    return f"# {ENDED}.\n" + "".join(f"{key}={value}\n" for key, value in settings.items())


def _traced(module: nn.Module, manifest: Manifest) -> Script:
    names = [output["name"] for output in manifest.outputs]
    return Script.of(module, manifest.fingerprint, manifest.column_names, names)


def _of_one_view(manifest: Manifest, script: Script) -> None:
    outputs = [output["name"] for output in manifest.outputs]
    for what, written, found in (
        ("fingerprint", manifest.fingerprint, script.said.fingerprint),
        ("columns", manifest.column_names, script.said.columns),
        ("outputs", outputs, script.said.outputs),
    ):
        if written != found:
            raise ModelRefused(
                f"the TorchScript has {what} {found!r}, model {manifest.name!r} has {written!r}: "
                "needs the file of the same training"
            )


def _parity(manifest: Manifest, model: bytes, script: Script) -> float:
    rows = rows_like(manifest.reference, manifest.column_names, SAMPLE)
    ours, theirs = script.run(rows), Runtime.of(model).run(rows)
    found = max(apart(ours[name], theirs[name]) for name in ours)
    if not found <= PARITY:
        raise ModelRefused(
            f"the TorchScript differs from model {manifest.name!r} by {found:.2g}, needs at most {PARITY:g}: "
            "it is of another training"
        )
    return found


def _contents(manifest: Manifest, script: Script, workers: Workers) -> dict[str, bytes]:
    said = {"fingerprint": manifest.fingerprint, "columns": manifest.column_names, "outputs": script.said.outputs}
    described = {
        "modelName": manifest.name,
        "modelVersion": f"{manifest.version}.0",
        "serializedFile": "model.pt",
        "handler": "headrace_handler.py",
        "configFile": "model-config.yaml",
    }
    return {
        "MAR-INF/MANIFEST.json": _json({"runtime": "python", "model": described, "archiverVersion": "0.12.0"}),
        "headrace.json": _json(said),
        "headrace_handler.py": Path(torchserve_handler.__file__).read_bytes(),
        "model-config.yaml": _json(_model_config(workers)),  # JSON is YAML
        "model.pt": script.content,
    }


def _model_config(workers: Workers) -> dict[str, int | str]:
    return {
        "minWorkers": workers.processes,
        "maxWorkers": workers.processes,
        "batchSize": workers.batch,
        "maxBatchDelay": workers.delay_ms,
        "responseTimeout": workers.timeout_s,
        "deviceType": "cpu",
    }


def _json(content: object) -> bytes:
    return json.dumps(content, indent=1).encode()


def _zipped(contents: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return written.getvalue()
