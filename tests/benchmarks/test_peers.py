"""What benchmarks of other servers stand on: their environments, their processes, answers in chunks, a steady load."""

import http.server
import sys
import threading
from contextlib import closing

import numpy as np
import pytest

from benchmarks.environments import PACKAGES, main, python_of
from benchmarks.foreign import foreign
from benchmarks.load import Refused, ask, put_load
from benchmarks.processes import OTHERS, cpu_s, tree
from benchmarks.soak import drift_by_chance, drift_percent, slope_per_hour, trend_percent
from benchmarks.steady import Steady
from headrace.cli.stack import StackError

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Chunked(http.server.BaseHTTPRequestHandler):
    """Answers in two chunks; with 503 below /away."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(503 if self.path == "/away" else 200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\nfra\r\n2\r\nud\r\n0\r\n\r\n")

    def log_message(self, *told):
        pass


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chunked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def test_an_answer_in_chunks_is_one_answer(address):
    assert ask(address, GET) == b"fraud"
    assert put_load(address, [GET], 2, 0.05).latencies_ms.size >= 2
    with pytest.raises(Refused, match="503"):
        ask(address, GET.replace(b"GET / ", b"GET /away "))


def test_a_steady_load_sends_what_is_due(address):
    with closing(Steady(address, [GET], 2)) as load:
        found = load.send(100.0, 0.1)
    assert found.latencies_ms.size == 10
    assert found.seconds >= 0.09


def test_a_server_is_ended_with_what_it_started(tmp_path):
    run = "import subprocess, http.server; subprocess.Popen(['sleep', '60']); "
    run += "http.server.SimpleHTTPRequestHandler.protocol_version = 'HTTP/1.1'; "
    run += "http.server.HTTPServer(('127.0.0.1', {port}), http.server.SimpleHTTPRequestHandler).serve_forever()"
    with foreign("peer", [sys.executable, "-c", run], GET, tmp_path, OTHERS) as server:
        began = tree(server.process.pid)
        assert len(began) == 2
        assert cpu_s(server) > 0
    assert all(tree(number) == [number] for number in began)


def test_a_server_that_ends_says_its_last_words(tmp_path):
    with (
        pytest.raises(StackError, match="the peer ended with code 1: no model"),
        foreign("peer", [sys.executable, "-c", "raise SystemExit('no model')"], GET, tmp_path, OTHERS),
    ):
        pass


def test_an_environment_that_nobody_knows_is_refused(capsys):
    assert main(["rayy"]) == 2
    assert f"there is no environment rayy, needs one of {', '.join(PACKAGES)}" in capsys.readouterr().err


def test_an_environment_that_was_not_made_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    assert python_of("ray") is None


def test_memory_that_grows_by_one_a_minute_grows_by_sixty_an_hour():
    minutes = [0.0, 1.0, 3.0, 4.0, 9.0]
    assert slope_per_hour(minutes, [7.0 + 60 * at for at in minutes]) == pytest.approx(60.0)


def test_a_trend_is_seen_past_what_is_far_off():
    rising = [1.01**at for at in range(50)]
    rising[7] *= 9
    rising[40] /= 9
    assert trend_percent(rising) == pytest.approx((1.01**49 - 1) * 100)
    assert trend_percent(rising[::-1]) == pytest.approx((1.01**-49 - 1) * 100)


def test_what_varies_more_drifts_more_by_chance():
    rng = np.random.default_rng(1)
    calm, wild = (list(np.exp(spread * rng.standard_normal(50))) for spread in (0.01, 0.3))
    assert drift_by_chance([3.0] * 50) == 0.0
    assert 0 < drift_by_chance(calm) < 2 < 10 < drift_by_chance(wild)


def test_drift_is_of_the_last_third_over_the_first():
    assert drift_percent([2.0, 2.0, 9.0, 2.5, 3.0, 3.0]) == pytest.approx(50.0)
