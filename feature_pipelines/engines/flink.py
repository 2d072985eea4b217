"""The Flink engine: the job runs in Flink's own Python environment, started and watched from here.

Apache Flink for Python pins packages that Headrace needs newer, so it lives in an environment
of its own (`make flink` makes it), with the Kafka connector beside it. In it,
`feature_pipelines.engines.flink_job` runs the job: a file or a topic is read in batches, chunks of
events are keyed by the bucket of their group's key, folded into records that are Flink's state,
and put into the store whole. Flink's checkpoints keep offsets, records and remembered ids together;
a job begins at the newest one. After a crash, events since then are folded again into the
records of then, and put once more, so that nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from feature_pipelines.engines import Job, Report, Stop
from feature_pipelines.engines.flink_plan import BUCKETS, REFUSED, Plan, state_folder, told
from feature_pipelines.engines.opening import text_of
from feature_pipelines.files import SourceError

PYTHON = "HEADRACE_FLINK_PYTHON"
_JOB = "feature_pipelines.engines.flink_job"
_HOME = Path(__file__).resolve().parents[2]
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class FlinkEngine:
    """Runs a job on a Flink of its own process; see Engine.

    Options: `python`, the interpreter that has Flink (HEADRACE_FLINK_PYTHON, this one, or `.venv-flink`
    by default); `jars`, a folder with the Kafka connector (`jars` in that environment); `state`, the
    folder of checkpoints (`flink/STREAM` in the store's directory); `checkpoint_s`, seconds between
    them (10); `parallelism` of reading and folding (1; one worker writes); `batch`, events decoded at a
    time; `linger_ms`, how long a topic's message may wait for others (100); `backend`, `hashmap` or
    `rocksdb`; `buckets`, over how many pieces a group's keys are spread (8).
    """

    def run(self, job: Job, stop: Stop) -> Report:
        """Run until the source ends or `stop()`; see Engine.

        Raises ValueError where there is no Flink, and SourceError where the job was refused or failed, with the reason.
        """
        python = interpreter(job.options, os.environ)
        told_job = _with_paths(job, python)
        Plan(told_job, "").flow()  # refuses names and options that are not known
        folder = state_folder(told_job)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as asked, (folder / "log").open("w") as log:
            asked.write(text_of(told_job))  # for this user's eyes alone: it may hold secrets of the Kafka client
            asked.flush()
            command = [str(python), "-m", _JOB, "--here", asked.name]
            code = _watched(command, _environment(python, folder), log.fileno(), stop)
        if code == REFUSED:
            raise SourceError(_last_words(folder / "log"))
        if code:
            raise SourceError(f"the Flink job failed: {_last_words(folder / 'log')}; all it said is in {log.name}")
        return told(folder)[1]


ENGINE = FlinkEngine()


def interpreter(options: Mapping[str, str], environment: Mapping[str, str]) -> Path:
    """Return the interpreter that has Flink; ValueError where there is none."""
    given = options.get("python") or environment.get(PYTHON)
    if given:
        if not Path(given).is_file():
            raise ValueError(f"Flink's interpreter is to be {given!r}, which is not there: make one with 'make flink'")
        return Path(given).absolute()
    if find_spec("pyflink") is not None:
        return Path(sys.executable)
    for folder in (Path.cwd(), _HOME):
        if (own := folder / ".venv-flink" / "bin" / "python").is_file():
            return own
    raise ValueError(
        "engine 'flink' needs Apache Flink for Python in an environment of its own, which is not there: "
        f"make it with 'make flink', or name its interpreter in {PYTHON}"
    )


def _with_paths(job: Job, python: Path) -> Job:
    """Return the job with what the other process cannot find by itself."""
    jars = job.options.get("jars") or str(python.parent.parent / "jars")
    return Job(
        **{name: getattr(job, name) for name in ("application", "stream", "source", "dead_letters", "kafka", "to_end")},
        store=job.store.resolve(),
        options={"buckets": str(BUCKETS), **job.options, "jars": jars},
    )


def _environment(python: Path, logs: Path) -> dict[str, str]:
    """Return the environment of Flink's processes: its interpreter first on PATH, as its threads need, and our code."""
    ours = [str(_HOME), *(path for path in sys.path if path and "site-packages" not in path and Path(path).is_dir())]
    libraries = [path for path in dict.fromkeys(ours) if not path.startswith(sys.base_prefix)]
    return {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLINK_LOG_DIR": str(logs),
        "PYTHONPATH": os.pathsep.join(libraries),
    }


def _watched(command: list[str], environment: dict[str, str], log: int, stop: Stop) -> int:
    # In a session of its own, so that a signal from the terminal comes to this process alone; the
    # end of its input, also by this process's death, asks the job to stop.
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
    )
    assert process.stdin is not None
    try:
        while True:
            try:
                return process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                if stop() and not process.stdin.closed:
                    process.stdin.close()
    finally:
        if not process.stdin.closed:
            process.stdin.close()
        process.wait()


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or ["nothing was said"])[-1].removeprefix("Caused by: ")
