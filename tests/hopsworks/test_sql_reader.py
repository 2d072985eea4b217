"""The SDK's SQL client and our reader of RonDB give what the embedded store gives, bit by bit."""

import asyncio

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.opening import StoreURL, opened
from headrace.stores.online import Lookup
from headrace.stores.rondb.errors import RonDBAway
from tests.headrace.hopsworks.agreement import assert_agreed, filled, pairs_of
from tests.headrace.hopsworks.filled import cluster_of, environment


@pytest.mark.mariadb
def test_the_sql_reader_gives_what_the_embedded_store_gives(tmp_path):
    with filled(tmp_path, sql=True) as (store, cluster):
        urls = ["hopsworks-sdk://?client=sql", f"hopsworks://{cluster.host}:{cluster.rdrs_port}?tls=false"]
        assert_agreed(store, cluster, urls, pairs_of(5))


@pytest.mark.mariadb
def test_a_database_that_went_away_is_away(tmp_path):
    with cluster_of(APP, tmp_path / "cluster", sql=True) as cluster:
        store = opened(StoreURL.of("hopsworks-sdk://?client=sql"), Declared.of(APP), environment(cluster))
        lookups = [Lookup(group, np.arange(3)) for group in APP.groups]
        assert not asyncio.run(store.read(lookups, np.arange(3)))[0].found.any()
    for _ in range(2):
        with pytest.raises(RonDBAway, match="the Hopsworks SDK cannot read features: the database cannot be reached"):
            asyncio.run(store.read(lookups, np.arange(3)))
    store.close()
