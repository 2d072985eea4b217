"""A mirrored pipeline in a process of its own that is told its target, and so starts without asking a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from applications.fraud.app import APP, PAYMENTS
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.hopsworks.mirror import MirroredStore
from feature_pipelines.hopsworks.targets import Target
from feature_pipelines.hopsworks.writer import FeatureGroupWriter
from feature_pipelines.runner import Pipeline
from feature_pipelines.running import now_ms
from feature_pipelines.sources import FileSource
from headrace.hopsworks.declared import Declared
from headrace.stores.embedded import EmbeddedStore

ROOT = Path(__file__).parents[3]
CARDS = Declared.of(APP).groups[0]


def piped(target: Target, events: Path, store: Path, batch: int) -> subprocess.Popen[bytes]:
    """Start it: payments of a file into a store and a feature group."""
    headers = {name: value.decode() for name, value in target.headers.items()}
    told = [target.topic, target.servers, target.schema, headers, str(events), str(store), batch]
    program = [sys.executable, "-m", "tests.feature_pipelines.hopsworks.piped", json.dumps(told)]
    return subprocess.Popen(program, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def main() -> None:
    """Run to the end of the file."""
    topic, servers, schema, headers, events, folder, batch = json.loads(sys.argv[1])
    target = Target(CARDS, topic, servers, schema, {name: value.encode() for name, value in headers.items()})
    store = MirroredStore(EmbeddedStore(folder), FeatureGroupWriter.of([target]))
    with closing(store), closing(FileSource(Path(events), PAYMENTS, order="file")) as source:
        letters = DeadLetterFile.beside(Path(folder), PAYMENTS.name)
        Pipeline(PAYMENTS, APP.groups_of(PAYMENTS.name), source, store, letters, now_ms).run(batch)


if __name__ == "__main__":
    main()
