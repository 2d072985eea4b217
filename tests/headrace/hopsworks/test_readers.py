"""The SDK's reader, our reader of RonDB and the embedded store give the same values, bit by bit."""

from __future__ import annotations

from tests.headrace.hopsworks.agreement import assert_agreed, filled, pairs_of


def test_every_reader_of_the_rest_server_gives_what_the_embedded_store_gives(tmp_path):
    with filled(tmp_path) as (store, cluster):
        plain, tls = f"{cluster.host}:{cluster.rdrs_port}?tls=false", f"localhost:{cluster.rdrs_tls_port}"
        urls = [f"{reader}://{at}" for reader in ("hopsworks", "hopsworks-sdk") for at in (plain, tls)]
        assert_agreed(store, cluster, urls, pairs_of(3))
        assert not cluster.unknown
