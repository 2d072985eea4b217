"""Applications: what a deployable is given by name.

An application says what the transformer serves, what the pipelines compute and what
training builds. Everything that costs an import of its own (data, training) is named and
loaded only where it is needed, so that a transformer never imports torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.features import FeatureView, WindowedGroup
from headrace.features.rows import nearest
from headrace.features.streams import Stream

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor the application answers with, one value per row; `datatype` is the v2 protocol's."""

    name: str
    datatype: str = "FP32"


def as_predicted(predictions: Arrays) -> Arrays:
    """Answer with what the model predicted, one value per row."""
    return predictions


@dataclass(frozen=True, slots=True)
class Application:
    """A view, the streams behind its groups, and how a prediction becomes an answer.

    `predicted` names the model's outputs that `respond` makes the application's outputs of; they
    are the same where it is empty. `label` names the column of a training spine that is learnt,
    `label_delay_ms` how long after a row its label is known. `ablations` names columns to leave
    out, to see what they are worth. `data`, `train`, `baseline` and `measure` are `module:function` names.
    """

    name: str
    view: FeatureView
    streams: tuple[Stream, ...]
    outputs: tuple[Output, ...]
    predicted: tuple[str, ...] = ()
    respond: Callable[[Arrays], Arrays] = as_predicted
    label: str = ""
    label_stream: str = ""
    label_delay_ms: int = 0
    ablations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    data: str = ""
    train: str = ""
    baseline: str = ""
    measure: str = ""

    def __post_init__(self) -> None:
        for group in self.view.groups:
            stream = self.stream(group.stream)
            absent = [c for c in (group.key, group.time, group.value, *group.last) if c not in stream.names]
            if absent:
                raise ValueError(
                    f"group {group.name!r} reads {', '.join(absent)}, "
                    f"stream {stream.name!r} has {', '.join(stream.names)}"
                )
            if not stream.column(group.key).required:
                raise ValueError(
                    f"group {group.name!r} is keyed by {group.key}, needs it in every event of stream {stream.name!r}: "
                    "declare it as required"
                )

    @property
    def groups(self) -> tuple[WindowedGroup, ...]:
        """The groups that pipelines compute."""
        return self.view.groups

    @property
    def model_outputs(self) -> tuple[str, ...]:
        """What the predictor is asked for."""
        return self.predicted or tuple(output.name for output in self.outputs)

    def stream(self, name: str) -> Stream:
        """Return a declared stream; ValueError where there is none of this name."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        known = [stream.name for stream in self.streams]
        raise ValueError(
            f"application {self.name!r} has no topic {name!r}, needs one of {', '.join(known)}{nearest(name, known)}"
        )

    def groups_of(self, stream: str) -> tuple[WindowedGroup, ...]:
        """Return the groups computed from one stream."""
        return tuple(group for group in self.view.groups if group.stream == stream)

    def load(self, what: str) -> Any:
        """Return what `data`, `train`, `baseline` or `measure` names; ValueError where it names none."""
        name = getattr(self, what)
        if not name:
            raise ValueError(f"application {self.name!r} names no {what}, needs {what}='module:function'")
        return named(name)


def named(name: str) -> Any:
    """Return the object `module:attribute`; ValueError where it cannot be found."""
    module, _, attribute = name.partition(":")
    if not module or module.startswith(".") or not attribute:
        raise ValueError(f"{name!r} is not a name to load, needs 'module:attribute'")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError as absent:
        raise ValueError(f"module {module!r} has no {attribute!r}") from absent


def load_application(name: str) -> Application:
    """Load `module:ATTRIBUTE`, or an application of this project by its short name.

    Raises ValueError where there is none, with the name it was looked for under.
    """
    target = name if ":" in name else f"applications.{name}:APP"
    try:
        found = named(target)
    except ModuleNotFoundError as absent:
        module = target.partition(":")[0]
        if absent.name and not f"{module}.".startswith(f"{absent.name}."):
            raise  # the application is there; something it needs is not
        said = f"there is no application {name!r}: looked for {target!r}"
        if target == name:  # a person's own; installing Headrace's command puts no folder of theirs on the path
            said += (
                f", but no module {absent.name or module!r} is on the import path, which the current folder may not be "
                "on: needs PYTHONPATH to name the folder that holds it, such as PYTHONPATH=. there"
            )
        raise ValueError(said) from absent
    if not isinstance(found, Application):
        raise ValueError(f"{target!r} is a {type(found).__name__}, needs an Application")
    return found
