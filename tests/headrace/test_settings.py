"""Settings come from flags, environment and a file, in that order; what is misspelt stops the start-up."""

from __future__ import annotations

import dataclasses

import pytest

from headrace.settings import FILE, OF_OTHERS, SettingsError, TransformerSettings, described, read_settings


@dataclasses.dataclass(frozen=True, slots=True)
class Kinds:
    """One setting of every kind."""

    name: str = "n"
    ports: int = 1
    share: float = 0.5
    eager: bool = False


def settings(*flags: str, **environment: str) -> TransformerSettings:
    """Read a transformer's settings."""
    return read_settings(TransformerSettings, flags, environment)


def test_nothing_given_gives_the_defaults_and_they_are_frozen():
    given = settings(PATH="/bin", HOME="/")
    assert given == TransformerSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        given.http_port = 1  # type: ignore[misc]


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "headrace.toml"
    file.write_text('http_port = 1\ngrpc_port = 1\nmax_rows = 1\ndeadline_ms = 7\nhost = "h"\n')
    given = settings(
        "--http_port", "3", "--max-rows=4",
        **{FILE: str(file), "HEADRACE_HTTP_PORT": "2", "HEADRACE_GRPC_PORT": "2"},
    )  # fmt: skip
    assert (given.http_port, given.grpc_port, given.max_rows, given.deadline_ms) == (3, 2, 4, 7.0)
    assert given.host == "h"
    assert isinstance(given.deadline_ms, float)


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        (
            (),
            {"HEADRACE_HTP_PORT": "1"},
            "the environment has setting 'htp_port', which is unknown; did you mean 'http_port'?",
        ),
        ((), {"HEADRACE_COLOUR": "red"}, "the environment has setting 'colour', which is unknown"),
        (("--deadline_mss", "5"), {}, "flag --deadline_mss is unknown; did you mean 'deadline_ms'?"),
        (("--http_port",), {}, "flag --http_port has no value, needs one"),
        (("serve", "--http_port", "5"), {}, "'serve' stands where a flag is needed, such as --application VALUE"),
        (("--http_port", "5", "6"), {}, "'6' stands where a flag is needed"),
        (("--http_port", "--grpc_port", "5"), {}, "flag --http_port has no value, needs one"),
        (("--http_port", "many"), {}, "setting http_port is 'many', needs int"),
        (("--http_port", "80.5"), {}, "setting http_port is '80.5', needs int"),
        (("--http_port", "-1"), {}, "setting http_port is -1, needs a port from 0 to 65535"),
        (("--grpc_port", "65536"), {}, "setting grpc_port is 65536, needs a port from 0 to 65535"),
        (("--deadline_ms", "0"), {}, "setting deadline_ms is 0.0, needs more than 0"),
        (("--deadline_ms", "nan"), {}, "setting deadline_ms is nan, needs more than 0"),
        (("--max_rows", "0"), {}, "setting max_rows is 0, needs more than 0"),
        (("--unproved_predictor", "perhaps"), {}, "setting unproved_predictor is 'perhaps', needs true or false"),
        ((), {FILE: "nowhere.toml"}, "the settings file named by HEADRACE_SETTINGS cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(flags, environment, message):
    with pytest.raises(SettingsError) as refused:
        settings(*flags, **environment)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http_prt = 1", "the settings file has setting 'http_prt', which is unknown; did you mean 'http_port'?"),
        ("[transformer]\nhttp_port = 1", "the settings file has setting 'transformer', which is unknown"),
        ("http_port = ", "the settings file named by HEADRACE_SETTINGS cannot be read"),
        ("http_port = 80.5", "setting http_port is 80.5, needs int"),
        ("http_port = true", "setting http_port is True, needs int"),
        ("host = 5", "setting host is 5, needs str"),
        ('host = ["a"]', "setting host is ['a'], needs str"),
        ("unproved_predictor = 1", "setting unproved_predictor is 1, needs bool"),
        ("deadline_ms = 2026-01-01", "needs float"),
    ],
)
def test_a_file_is_held_to_the_kinds_of_its_settings(tmp_path, text, message):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        settings(**{FILE: str(tmp_path / "s.toml")})
    assert message in str(refused.value)


def test_every_kind_is_read_from_text_and_from_a_file(tmp_path):
    (tmp_path / "s.toml").write_text('name = "a"\nports = 2\nshare = 1\neager = true\n')
    wanted = Kinds("a", 2, 1.0, True)
    assert read_settings(Kinds, [], {FILE: str(tmp_path / "s.toml")}) == wanted
    assert read_settings(Kinds, ["--name=a", "--ports", "2", "--share", "1", "--eager", "TRUE"], {}) == wanted
    assert read_settings(Kinds, ["--eager=0", "--share=-1e3", "--name", "-x"], {}) == Kinds("-x", 1, -1000.0, False)


def test_a_flag_of_a_runtime_that_means_nothing_here_is_ignored_and_said(capsys):
    given = settings("--workers", "2", "--max_threads", "4", "--enable_docs_url=true", "--http_port", "9000", "--quiet")
    assert (given.http_port, given.workers) == (9000, 2)
    assert capsys.readouterr().err.splitlines() == [
        "ignored the flag --max_threads, which means nothing here",
        "ignored the flag --enable_docs_url, which means nothing here",
        "ignored the flag --quiet, which means nothing here",
    ]


def test_the_flags_that_a_controller_passes_are_taken(capsys):
    given = settings("--model_name", "fraud", "--predictor_host", "fraud-predictor.default", "--http_port", "8080")
    assert (given.model_name, given.predictor_url) == ("fraud", "http://fraud-predictor.default")
    assert settings("--predictor_host", "https://p:443").predictor_url == "https://p:443"
    assert capsys.readouterr().err == ""


def test_every_setting_says_what_it_is():
    names = [field.name for field in dataclasses.fields(TransformerSettings)]
    told = described(TransformerSettings).splitlines()
    assert [line.split()[0] for line in told] == [f"--{name}" for name in names]
    assert all(line.partition("  ")[2] for line in (line.strip() for line in told))


def test_what_kubernetes_says_of_its_services_is_no_setting():
    links = {
        "HEADRACE_SERVICE_HOST": "10.0.0.7",
        "HEADRACE_SERVICE_PORT_HTTP": "80",
        "HEADRACE_PORT": "tcp://10.0.0.7:80",
        "HEADRACE_PORT_80_TCP_ADDR": "10.0.0.7",
        "HEADRACE_HTTP_PORT": "9000",
    }
    assert read_settings(TransformerSettings, [], links).http_port == 9000
    with pytest.raises(SettingsError, match="'htp_port', which is unknown; did you mean 'http_port'"):
        read_settings(TransformerSettings, [], {"HEADRACE_HTP_PORT": "9000"})


@pytest.mark.parametrize("name", sorted(OF_OTHERS))
def test_what_commands_of_the_same_machine_are_told_is_no_setting(name):
    assert read_settings(TransformerSettings, [], {name: "there"}) == TransformerSettings()


@pytest.mark.parametrize("given", [{"SSL_CERTFILE": "a"}, {"SSL_KEYFILE": "a"}, {"SSL_CLIENT_CA": "a"}])
def test_half_a_certificate_is_refused(given):
    with pytest.raises(SettingsError) as refused:
        read_settings(TransformerSettings, [], {f"HEADRACE_{name}": value for name, value in given.items()})
    assert str(refused.value) == ("ssl_certfile and ssl_keyfile belong together, and ssl_client_ca to them: needs both")


@pytest.mark.parametrize("name", ["workers", "max_in_flight", "max_connections"])
def test_there_is_at_least_one_of_what_serves(name):
    with pytest.raises(SettingsError) as refused:
        read_settings(TransformerSettings, [f"--{name}", "0"], {})
    assert str(refused.value) == f"setting {name} is 0, needs 1 or more"
