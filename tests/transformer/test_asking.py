"""How a transformer asks its predictor, as it is told: addresses, protocols, headers; and what is refused."""

from __future__ import annotations

import pytest

from headrace.settings import SettingsError, TransformerSettings, read_settings
from transformer.asking import forwarded, predictor_client


def read(*flags: str) -> TransformerSettings:
    return read_settings(TransformerSettings, flags, {})


@pytest.mark.parametrize(
    ("flags", "site", "tls"),
    [
        (("--predictor_host", "fraud-predictor.shop"), "fraud-predictor.shop", False),
        (("--predictor_host", "p:9000", "--predictor_protocol", "grpc-v2"), "p:9000", False),
        (("--predictor_host", "p", "--predictor_use_ssl", "true"), "p", True),
        (("--predictor_host", "https://p:8443"), "p:8443", True),
        (("--predictor_host", "http://p", "--predictor_use_ssl", "true"), "p", False),
        (("--predictor_host", "[::1]:8000"), "[::1]:8000", False),
    ],
)
def test_the_address_as_kserve_gives_it(flags: tuple[str, ...], site: str, tls: bool) -> None:
    client = predictor_client(read(*flags), "fraud")
    assert (str(client.site), client.site.tls is not None) == (site, tls)


def test_limits_are_those_that_are_set() -> None:
    client = predictor_client(read("--predictor_answer_mib", "2", "--second_attempts", "0.5"), "fraud")
    assert (client.site.longest, client.budget.share) == (2 << 20, 0.5)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--predictor_protocol", "v1"), "the predictor's protocol is 'v1', needs v2 or grpc-v2"),
        (("--predictor_host", "ftp://p"), "the predictor's address is 'ftp://p', needs a host"),
        (("--predictor_host", ""), "the predictor's address is 'http://', needs a host"),
        (("--predictor_host", "https://p", "--predictor_ca_file", "nowhere.pem"), "cannot be asked: [Errno 2] No such"),
        (("--second_attempts", "2"), "setting second_attempts is 2.0, needs 0 to 1"),
        (("--predictor_answer_mib", "0"), "setting predictor_answer_mib is 0, needs more than 0"),
        (("--predictor_refresh_s", "nan"), "setting predictor_refresh_s is nan, needs more than 0"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_the_start(flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        predictor_client(read(*flags), "fraud")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "name", ["host", "Content-Length", "x tenant", "x:y", "grpc-timeout", "x\r\ny", "transfer-encoding"]
)
def test_a_header_of_one_hop_does_not_go_on(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        forwarded(read("--forward_headers", f"x-a,{name}"))
    assert str(refused.value) == (
        f"setting forward_headers has {name.lower()!r}, needs names of headers that may go on"
    )


@pytest.mark.parametrize("flag", ["predictor_request_retries", "predictor_request_timeout_seconds", "max_threads"])
def test_flags_of_kserves_own_server_are_ignored_and_said(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert read(f"--{flag}", "3") == TransformerSettings()
    assert capsys.readouterr().err == f"ignored the flag --{flag}, which means nothing here\n"


@pytest.mark.parametrize("name", ["x-tenant-bin", "x!tenant"])
def test_over_grpc_a_header_goes_on_by_a_name_that_grpc_has(name: str) -> None:
    assert forwarded(read("--forward_headers", name))[-1] == name
    with pytest.raises(SettingsError, match="needs names of headers that may go on"):
        forwarded(read("--forward_headers", name, "--predictor_protocol", "grpc-v2"))
