"""Rows of several feature groups through one connection: as many a second as a pipeline folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_pipelines.hopsworks.encoding import Encoder
from feature_pipelines.hopsworks.producer import RowProducer
from feature_pipelines.hopsworks.targets import Target
from feature_pipelines.running import Stop, Tell, never, silent
from headrace.features.windows import WindowedGroup
from headrace.hopsworks.rows import rows_of, windowed

#: Messages by key: of one key the last one is sent.
Messages = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class FeatureGroupWriter:
    """Writes records of windowed groups as rows of their feature groups; absolute, so that once more changes nothing.

    `rows` counts what was acknowledged.
    """

    targets: Mapping[str, tuple[Target, Encoder]]  # by the group's name
    producer: RowProducer

    @classmethod
    def of(
        cls, targets: Sequence[Target], *, wait_s: float = 60.0, tell: Tell = silent, stop: Stop = never
    ) -> FeatureGroupWriter:
        """Compile the schemas and connect; raises SchemaMismatch, and StoreUnavailable as RowProducer does."""
        compiled = {windowed(t.feature_group).name: (t, Encoder.of(t.feature_group, t.schema)) for t in targets}
        first, topics = targets[0], [target.topic for target in targets]
        producer = RowProducer(first.servers, topics, first.kafka, wait_s=wait_s, tell=tell, stop=stop)
        return cls(compiled, producer)

    def lacking(self, groups: Sequence[WindowedGroup]) -> list[str]:
        """Return the names of the groups that it has no feature group for."""
        return [group.name for group in groups if group.name not in self.targets]

    def encode(self, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> Messages:
        """Return the messages of records [n], each with an event in it, and of distinct keys [n]."""
        target, encoder = self.targets[group.name]
        rows = rows_of(target.feature_group, keys, records)
        return dict(zip(map(str, keys.tolist()), encoder.encode(rows, len(keys)), strict=True))

    def write(self, messages: Mapping[str, Messages]) -> int:
        """Send messages, by group, and return how many rows there were once each is acknowledged.

        Raises StoreUnavailable.
        """
        sent = 0
        for name, held in messages.items():
            target, _ = self.targets[name]
            self.producer.send(target.topic, held.keys(), held.values(), target.headers)
            sent += len(held)
        if sent:
            self.producer.confirm()
        return sent

    def close(self) -> None:
        """Release the connection; what was not acknowledged is thrown away."""
        self.producer.close()
