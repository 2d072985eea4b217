"""The prepared statements of a feature view: one per feature group that is read, for one row and for many."""

from __future__ import annotations

from typing import Any

from tests.hopsworks.metadata import Metadata
from tests.hopsworks.routes import STORE, RefusedError, Routes, number
from tests.hopsworks.wire import Request

STATEMENTS = Routes()


@STATEMENTS.on("GET", STORE + "/featureview/{name}/version/{version}/preparedstatement")
def statements(state: Metadata, request: Request, project: str, store: str, name: str, version: str) -> dict[str, Any]:
    """Return the statements that were asked for; there are no inference helper columns here, so theirs are none."""
    if state.sql is None:
        raise RefusedError(404, 270042, "Storage connector wasn't found.", "this cluster runs without SQL")
    view = state.view(name, number(version))
    if _asked(request, "inference_helper_columns"):
        return {"count": 0, "items": []}
    batch = _asked(request, "batch")
    joins = [(0, view["query"], "")]
    joins += [(at, j["query"], j.get("prefix") or "") for at, j in enumerate(view["query"]["joins"], start=1)]
    served = {feature["featuregroup"]["id"] for feature in view["features"] if not feature["label"]}
    items = [
        _statement(state, view, part["leftFeatureGroup"], at, prefix, batch=batch)
        for at, part, prefix in joins
        if part["leftFeatureGroup"]["id"] in served
    ]
    return {"count": len(items), "items": items}


def _statement(
    state: Metadata, view: dict[str, Any], group: dict[str, Any], at: int, prefix: str, *, batch: bool
) -> dict[str, Any]:
    key = [feature["name"] for feature in group["features"] if feature["primary"]]
    of_group = [f for f in view["features"] if f["featuregroup"]["id"] == group["id"]]
    told = [f["featureGroupFeatureName"] for f in of_group if not f["label"] and "transformationFunction" not in f]
    told += [name for name in key if name not in told] if batch or not told else []
    alias = f"fg{at}"
    columns = ", ".join(f"`{alias}`.`{name}` AS `{prefix}{name}`" for name in told)
    named = [f"`{alias}`.`{name}`" for name in key]
    where = f"({', '.join(named)}) IN ?" if batch else " AND ".join(f"{name} = ?" for name in named)
    table = state.sql.table(group) if state.sql else ""
    return {
        "featureGroupId": group["id"],
        "preparedStatementIndex": at,
        "prefix": prefix or None,
        "preparedStatementParameters": [{"name": name, "index": index} for index, name in enumerate(key, start=1)],
        "queryOnline": f"SELECT {columns}\nFROM {table} AS `{alias}`\nWHERE {where}",
    }


def _asked(request: Request, name: str) -> bool:
    return request.query.get(name) in (["True"], ["true"])
