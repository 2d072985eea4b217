"""One view of several processes' metrics, made of what each of them tells when it is asked.

What was counted is added up, over counters, histograms and gauges that count things; a gauge that tells a state
or an instant is the largest of all. Nothing is written down on the way: a request costs no more than with one process.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

#: Gauges that are no amounts: the largest of several processes' values is what is true of them together.
STATES = ("_info", "_open", "_version", "_timestamp_seconds", "_ready", "_endpoints", "_endpoints_left_out")


def merged(texts: Sequence[bytes]) -> bytes:
    """Return one text of metrics for several, in the Prometheus text format; each sample once.

    Raises ValueError for a text that is not of this format.

    >>> a = b"# HELP rows_total Rows\\n# TYPE rows_total counter\\nrows_total{model=\\"a\\"} 2.0\\n"
    >>> print(merged([a, a]).decode().splitlines()[-1])
    rows_total{model="a"} 4.0
    """
    if len(texts) == 1:
        return texts[0]
    return _sum(texts)


def counted(texts: Sequence[bytes]) -> bytes:
    """Return one text of what several counted, without their gauges: what stays true of a process that has ended.

    Raises ValueError for a text that is not of this format.
    """
    return _sum(texts, without="gauge")


def _sum(texts: Sequence[bytes], without: str = "") -> bytes:
    heads: dict[str, list[str]] = {}
    values: dict[str, dict[str, float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            if family.type == without:
                continue
            counted = family.type == "counter" and not family.name.endswith("_total")
            name = family.name + ("_total" if counted else "")
            heads.setdefault(name, [f"# HELP {name} {_one_line(family.documentation)}", f"# TYPE {name} {family.type}"])
            found = values.setdefault(name, {})
            state = family.type == "gauge" and name.endswith(STATES)
            for sample in family.samples:
                key = sample.name + _labels(sample.labels)
                before = found.get(key)
                if before is None:
                    found[key] = sample.value
                else:
                    found[key] = max(before, sample.value) if state else before + sample.value
    lines = [line for name, head in heads.items() for line in (*head, *_samples(values[name]))]
    return ("\n".join(lines) + "\n").encode()


def _samples(values: dict[str, float]) -> list[str]:
    return [f"{key} {value!r}" for key, value in values.items()]


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return _one_line(value).replace('"', '\\"')


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
