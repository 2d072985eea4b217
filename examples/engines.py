"""The same payments through two engines, into a store each, and what both stores answer.

Run it as `python examples/engines.py bytewax`, or `spark`, or `flink`, where the engine is installed; the
local engine is the other one. It prints one card's features from both stores, which are equal.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from applications.fraud.app import APP
from applications.fraud.samples import sample_payments
from feature_pipelines.engines import Job, load_engine
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup

#: Spark on this machine alone; any setting of Spark may be given like this.
SETTINGS = {"spark": {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}}


def features(store: Path, card: int, as_of: int) -> dict[str, float]:
    """Return one card's features as a store answers them at an instant."""
    group = APP.groups_of("payments")[0]
    with_store = EmbeddedStore(store, readonly=True)
    block = asyncio.run(with_store.read([Lookup(group, np.array([card]))], np.array([as_of])))[0]
    with_store.close()
    return dict(zip(group.column_names, block.values[0].tolist(), strict=True))


def main(engine: str) -> None:
    """Run both engines over the same file and compare a card."""
    payments = sample_payments(20_000)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "payments.parquet")
        pq.write_table(pa.table(payments), source)
        for name in ("local", engine):
            job = Job("fraud", "payments", str(source), Path(folder, name), to_end=True, options=SETTINGS.get(name, {}))
            report = load_engine(name).run(job, lambda: False)
            print(f"{name}: {report.events:,} events, {report.duplicates:,} repeated, {report.dead:,} dead")
        card, as_of = int(payments["cc_num"][-1]), int(payments["datetime"][-1]) + 1
        ours, theirs = features(Path(folder, "local"), card, as_of), features(Path(folder, engine), card, as_of)
        for column, value in ours.items():
            print(f"{column:24} {value:20.6f} {theirs[column]:20.6f}")
        np.testing.assert_allclose(list(theirs.values()), list(ours.values()), rtol=1e-9)


if __name__ == "__main__":
    main(sys.argv[1])
