"""What a transformer is told when it stops, and what it makes of its predictor's address."""

from __future__ import annotations

import pytest

from headrace.settings import SettingsError, TransformerSettings, read_settings


def read(*flags: str) -> TransformerSettings:
    return read_settings(TransformerSettings, flags, {})


def test_it_answers_on_for_as_long_as_it_is_told() -> None:
    assert read().drain_s == 0
    assert read("--drain_s", "2.5").drain_s == 2.5


@pytest.mark.parametrize("said", ["-1", "inf", "nan"])
def test_a_time_to_answer_on_must_end(said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read("--drain_s", said)
    assert str(refused.value) == f"setting drain_s is {float(said)}, needs seconds, 0 or more"


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("fraud-predictor.shop", "http://fraud-predictor.shop"),
        ("127.0.0.1:8085", "http://127.0.0.1:8085"),
        ("https://triton:8000", "https://triton:8000"),
    ],
)
def test_an_address_becomes_a_url(said: str, url: str) -> None:
    assert read("--predictor_host", said).predictor_url == url


def test_an_ignored_flag_takes_its_value_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        read("--enable_latency_logging", "--log_config_file=x", "--event-loop", "auto", "--max_rows", "3").max_rows == 3
    )
    assert capsys.readouterr().err.count("ignored") == 3
