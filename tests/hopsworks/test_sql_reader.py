"""The SDK's SQL client and our reader of RonDB give what the embedded store gives, bit by bit."""

import pytest

from tests.headrace.hopsworks.agreement import assert_agreed, filled, pairs_of


@pytest.mark.mariadb
def test_the_sql_reader_gives_what_the_embedded_store_gives(tmp_path):
    with filled(tmp_path, sql=True) as (store, cluster):
        urls = ["hopsworks-sdk://?client=sql", f"hopsworks://{cluster.host}:{cluster.rdrs_port}?tls=false"]
        assert_agreed(store, cluster, urls, pairs_of(5))
