"""The argument MODEL of the commands: the folder of one model in a repository, such as `models/fraud`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictor.manifest import MANIFEST


class _Model(click.Path):
    name = "model"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        given = Path(str(super().convert(value, param, ctx)))
        if not given.is_dir():
            raise click.ClickException(
                f"there is no model at {given}: name a model's folder, such as models/fraud, or train one first"
            )
        if not (given / MANIFEST).exists() and (models := sorted(given.glob(f"*/{MANIFEST}"))):
            named = ", ".join(str(manifest.parent) for manifest in models)
            raise click.ClickException(f"{given} is a repository, needs the folder of a model in it: {named}")
        return given


#: ClickException where there is no folder, or one of models.
MODEL = _Model()
