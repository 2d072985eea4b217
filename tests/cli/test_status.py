"""`headrace pipeline status` says what was read, refused and held, and beside a broker how far it is behind."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing

import orjson
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.text import Text

from applications.fraud.app import APP
from applications.fraud.features import CARD_ACTIVITY
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.handover import IN_HISTORY
from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from feature_pipelines.sinks import Sink
from headrace.cli.broker import local_broker
from headrace.cli.status import again
from headrace.features.instants import iso
from headrace.stores.embedded import EmbeddedStore
from tests.cli.conftest import START
from tests.stores.small import declared

STATUS = ("pipeline", "status", "fraud", "--store")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker on this machine."""
    with local_broker(tmp_path_factory.mktemp("broker")) as address:
        yield address


def topic(broker: str, name: str, events: int, first: int = 0) -> str:
    """Produce payments to a topic of two partitions and return its address."""
    address = KafkaAddress(broker, name)
    create_topic(address, 2)
    rows = [
        {"cc_num": at, "terminal_id": 1, "datetime": START + at, "amount": 5.0} for at in range(first, first + events)
    ]
    produce(address, [(b"%d" % row["cc_num"], orjson.dumps(row)) for row in rows])
    return f"kafka://{broker}/{name}"


def test_what_was_read_refused_and_held_is_said(headrace, payments, tmp_path):
    table = pq.read_table(payments).slice(0, 20)
    pa_csv.write_csv(table, tmp_path / "e.csv")
    newest = int(table.column("datetime").cast("int64")[-1].as_py())
    with (tmp_path / "e.csv").open("a") as file:
        file.write("x,,1,2026-01-01,5,,,,0\n" * 3 + "y,1,1,2026-01-01,-5,,,,0\n" + "19,1,1,2026-01-01,5,,,,0\n")
    headrace("pipeline", "run", "fraud", "--source", "e.csv", "--store", "s", "--order", "file", "--fast")
    output = headrace(*STATUS, "s").output
    assert output.startswith("fraud in s at 2")
    assert "payments: 25 events, 1 repeated, 4 dead\n" in output
    assert f"newest event {iso(newest)}, " in output
    assert output.index("3 dead letters: cc_num is missing") < output.index("1 dead letters: amount is not a number")
    assert "see s/dead_letters/payments.jsonl" in output
    assert "labels: 0 events, 0 repeated, 0 dead\n  no event yet" in output
    assert "not yet: run the pipeline of labels" in output
    said = json.loads(headrace(*STATUS, "s", "--json").output)
    stream = said["streams"][0]
    assert (stream["events"], stream["duplicates"], stream["newest_ms"]) == (25, 1, newest)
    assert stream["age_ms"] == said["at_ms"] - newest
    assert [(part["at"], part["end"], part["lag"]) for part in stream["partitions"]] == [(25, None, None)]
    letters = tmp_path / "s" / "dead_letters" / "payments.jsonl"
    assert stream["dead_letters"] == [{"where": "s/dead_letters/payments.jsonl", "reach": letters.stat().st_size}]
    cards, terminals = said["groups"]
    keys = len(set(table.column("cc_num").to_pylist()))
    assert (cards["keys"], cards["tiles"]) == (keys, keys * CARD_ACTIVITY.plan.total)
    assert cards["stored_bytes"] > keys
    assert not terminals["declared"]


def test_what_a_history_held_already_is_told_apart(headrace, store):
    with closing(EmbeddedStore(store, durable=False)) as held, held.transaction("payments", {}) as change:
        change.count({IN_HISTORY: 12})
    assert "payments: 200 events, 0 repeated, 0 dead, 12 in the history already" in headrace(*STATUS, store).output


def test_nothing_is_cut_off_at_eighty_columns(headrace, store):
    output = headrace(*STATUS, store).output
    assert "…" not in output
    assert "payments: 200 events" in output
    assert "terminal_risk" in output


def test_beside_a_broker_it_says_how_far_the_store_is_behind(headrace, broker, tmp_path):
    address = topic(broker, "payments", 30)
    headrace("pipeline", "run", "fraud", "--source", address, "--store", "s", "--to-end", "--fast", "--group", "a")
    topic(broker, "payments", 12, first=30)
    said = json.loads(headrace(*STATUS, "s", "--source", address, "--json").output)
    partitions = said["streams"][0]["partitions"]
    assert [part["partition"] for part in partitions] == ["payments/0", "payments/1"]
    assert sum(part["at"] for part in partitions) == 30
    assert sum(part["end"] for part in partitions) == 42
    assert [part["lag"] for part in partitions] == [part["end"] - part["at"] for part in partitions]
    rows = [line.split() for line in headrace(*STATUS, "s", "--source", address).output.splitlines()]
    assert [row for row in rows if row[:1] == ["payments/0"]] == [
        ["payments/0", *map(str, list(partitions[0].values())[1:])]
    ]


def test_a_partition_that_nobody_has_read_is_behind_by_all_of_it(headrace, broker, store):
    address = topic(broker, "late-labels", 4)
    said = json.loads(headrace(*STATUS, store, "--source", f"labels={address}", "--json").output)
    behind = {part["partition"]: part["lag"] for part in said["streams"][1]["partitions"] if part["end"] is not None}
    assert behind.keys() == {"late-labels/0", "late-labels/1"}
    assert sum(behind.values()) == 4


def test_it_is_shown_again_until_interrupted():
    out = io.StringIO()
    shown, pauses = [], []

    def draw() -> Text:
        shown.append(len(shown))
        return Text(f"look {len(shown)}")

    def pause() -> None:
        pauses.append(1)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    again(draw, pause, Console(file=out, force_terminal=True))
    assert shown == [0, 1, 2]
    assert [out.getvalue().count(f"look {at}") > 0 for at in (1, 2, 3, 4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no",), 1, "there is no store at 'no': run a pipeline first"),
        (
            ("s", "--source", "events.csv"),
            1,
            "--source is 'events.csv', needs a broker to ask: kafka://host:port/topic",
        ),
        (("s", "--source", "kafka://nowhere"), 1, "'kafka://nowhere' is no address of a topic"),
        (("s", "--source", "shops=kafka://127.0.0.1:9/shops"), 1, "application 'fraud' has no topic 'shops'"),
        (("s", "--source", "kafka://127.0.0.1:9/p", "--wait", "0"), 1, "no broker answers at 127.0.0.1:9 after 0 s"),
        (("s", "--watch", "--json"), 2, "--json prints once, needs to be asked for without --watch"),
    ],
)
def test_what_cannot_be_shown_says_what_was_needed(headrace, store, arguments, code, message):
    output = headrace(*STATUS, *arguments, code=code).output
    assert message in " ".join(output.split())
    assert "Traceback" not in output


def test_without_its_broker_it_still_says_what_the_store_knows(headrace, store):
    output = headrace(*STATUS, store, "--source", "kafka://127.0.0.1:9/p", "--wait", "0", code=1).output
    assert output.index("payments: ") < output.index("no broker answers at 127.0.0.1:9")


def test_a_group_of_another_declaration_is_refused(headrace, tmp_path):
    held = EmbeddedStore(tmp_path / "s", durable=False)
    held.declare([declared("card_activity")])
    held.close()
    assert (
        "the store at 's' holds group 'card_activity' under another declaration"
        in headrace(*STATUS, "s", code=1).output
    )


def test_a_stream_that_an_engine_reads_says_so(headrace, tmp_path):
    with closing(EmbeddedStore(tmp_path / "s", durable=False)) as held:
        letters = DeadLetterFile.beside(tmp_path / "s", "payments")
        Sink(held, APP.stream("payments"), APP.groups_of("payments"), letters).start("flow", ["payments/0"])
    output = headrace(*STATUS, "s").output
    assert "payments: streamed by flow, which has its positions and counts" in output
    assert ["payments/0", "-", "-", "-"] in [line.split() for line in output.splitlines()]
