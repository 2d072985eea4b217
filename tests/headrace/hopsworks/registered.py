"""A small model directory, as training writes one, to be put into a registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headrace.features import Column, FeatureView
from predictor.export import publish

VIEW = FeatureView(
    "small",
    1,
    (Column("amount", low=0.0, missing=-1.0), Column("age", missing=-1.0, required=False)),
    (),
    ("request.amount", "request.age"),
)


def small_model(repository: Path, seed: int = 3) -> Path:
    """Publish the model `small` of two columns in a repository and return its directory."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    matrix = np.random.default_rng(seed).normal(40, 10, (64, 2)).astype(np.float32)
    module = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0), nn.Sigmoid()).eval()
    metrics = {"roc_auc": 0.5 + seed / 100, "note": "not a number"}
    return publish(
        repository, module, VIEW, matrix, outputs=("p",), metrics=metrics, trained_on={"rows": 64, "from": seed}
    )[0]
