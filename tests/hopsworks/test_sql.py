"""The SDK's SQL client against MariaDB: the vectors of RonDB REST again, from tables that follow the online rows."""

import datetime

import pymysql
import pytest
from hsfs.feature import Feature

from tests.hopsworks import StandIn
from tests.hopsworks.mariadb import PORT, Database
from tests.hopsworks.sdk import logged_in, make_view

pytestmark = pytest.mark.mariadb

ROWS = 40
MOMENT = 1_700_000_000_123
WHEN = datetime.datetime.fromisoformat("2023-11-14T22:13:20.123")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with StandIn.started(tmp_path_factory.mktemp("sql"), kafka=False, sql=True) as running:
        yield running


@pytest.fixture(scope="module")
def view(cluster, tmp_path_factory):
    with logged_in(cluster, tmp_path_factory.mktemp("sdk")) as project:
        found = make_view(project.get_feature_store(), "sql")
        values = [{"amount_count_1d": at / 4, "tiles": bytes([at, 0, 255])} for at in range(ROWS)]
        cluster.put("cards_sql", 1, [{"cc_num": at, "datetime": MOMENT, **row} for at, row in enumerate(values)])
        terminals = range(1, ROWS)
        cluster.put("terminals_sql", 1, [{"terminal_id": at, "datetime": MOMENT, "risk": at / 8} for at in terminals])
        yield found


def serve(view, cluster, *, sql):
    config = {"host": cluster.host, "port": cluster.rdrs_port, "use_ssl": False}
    other = {} if sql else {"reset_rest_client": True, "config_rest_client": config}
    view.init_serving(1, init_sql_client=sql, init_rest_client=not sql, **other)


def rows_of(cluster, table):
    host = cluster.mysql.partition(":")[0]
    reading = pymysql.connect(host=host, port=PORT, user="root", database=cluster.project)
    with reading as found, found.cursor() as asking:
        asking.execute(f"SELECT * FROM `{table}`")
        return list(asking.fetchall())


def test_both_clients_of_the_sdk_read_the_same_vectors(view, cluster):
    # Of cards all are there: without the row that its function reads, the SQL client fails where the other goes on.
    keys = [{"card_cc_num": 1 + at % (ROWS - 1), "terminal_terminal_id": 1 + at * 7 % 60} for at in range(100)]
    asked = {"request_parameters": {"amount": 5.0}, "allow_missing": True}
    read = []
    for sql in (False, True):
        serve(view, cluster, sql=sql)
        read.append(view.get_feature_vectors(keys, **asked))
        read.append([view.get_feature_vector(key, **asked) for key in keys[:30]])
    assert read[0] == read[2]
    assert read[1] == read[3]
    assert read[0][1] == [WHEN, 0.5, b"\x02\x00\xff", 10.0, 1.0]
    assert read[0][6][-1] is None


def test_a_row_that_changes_or_goes_does_so_in_sql(view, cluster):
    cluster.put("terminals_sql", 1, [{"terminal_id": 900, "datetime": MOMENT, "risk": None}])
    cluster.put("terminals_sql", 1, [{"terminal_id": 900, "datetime": MOMENT, "risk": 0.5}])
    assert [row[2] for row in rows_of(cluster, "terminals_sql_1") if row[0] == 900] == [0.5]
    cluster.delete("terminals_sql", 1, [[900]])
    assert 900 not in {row[0] for row in rows_of(cluster, "terminals_sql_1")}


def test_a_table_follows_its_group(view, cluster, tmp_path):
    with logged_in(cluster, tmp_path) as project:
        store = project.get_feature_store()
        make_view(store, "follows")
        group = store.get_feature_group("terminals_follows", 1)
        cluster.put("terminals_follows", 1, [{"terminal_id": 1, "datetime": MOMENT, "risk": 0.5}])
        group.append_features([Feature("more", "double")])
        assert rows_of(cluster, "terminals_follows_1")[0][2:] == (0.5, None)
        store.get_feature_view("fraud_follows", 1).delete()
        group.delete()
    with pytest.raises(pymysql.err.ProgrammingError, match="terminals_follows_1"):
        rows_of(cluster, "terminals_follows_1")


def test_a_database_writes_every_type(cluster):
    kinds = {"k": "bigint", "t": "timestamp", "d": "date", "s": "string", "b": "binary", "f": "boolean", "x": "double"}
    online = {"string": "varchar(20)", "binary": "varbinary(20)"}
    features = [
        {"name": name, "type": kind, "onlineType": online.get(kind, kind), "primary": name == "k", "onDemand": False}
        for name, kind in kinds.items()
    ]
    group = {"name": "types", "version": 1, "features": features}
    database = Database(cluster.mysql.partition(":")[0], cluster.project)
    database.declare(group)
    row = {"k": 1, "t": MOMENT, "d": 1, "s": "é'", "b": b"\x00'", "f": True, "x": 0.1}
    database.write(group, {(1,): row, (2,): {**dict.fromkeys(row), "k": 2}, (3,): None})
    assert rows_of(cluster, "types_1") == [
        (1, WHEN, datetime.date(1970, 1, 2), "é'", b"\x00'", 1, 0.1),
        (2, None, None, None, None, None, None),
    ]
    database.drop(group)
    database.close()
