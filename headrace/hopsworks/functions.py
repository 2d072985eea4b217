"""On-demand functions as Hopsworks runs them: user-defined functions in python mode, named after the feature.

An input that is stored is called as in its feature group. One that comes with the request is a
request parameter, called as in the request, unless the group has a column of that name, which is
not its key: then `request_<name>`, because Hopsworks takes a parameter that is absent from the
stored row, and the time of the newest event is not the time of the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.features.on_demand import OnDemand
from headrace.hopsworks.declared import FeatureGroup, NotDeclarable
from headrace.hopsworks.functions_source import source_of


@dataclass(frozen=True, slots=True)
class Function:
    """A user-defined function: the feature it gives, its inputs in order, and its source, which stands alone."""

    name: str
    inputs: tuple[str, ...]
    source: str

    @classmethod
    def of(cls, group: FeatureGroup, function: OnDemand) -> Function:
        """Return a group's on-demand function as one of Hopsworks'; raises NotDeclarable.

        >>> from applications.fraud.app import APP
        >>> from headrace.hopsworks.declared import Declared
        >>> card = Declared.of(APP).groups[0]
        >>> Function.of(card, card.on_demand[1]).inputs
        ('last_datetime', 'request_datetime')
        """
        if not function.inputs:
            raise NotDeclarable(f"on-demand function {function.name!r} has no input, Hopsworks needs one or more")
        inputs = tuple(input_of(group, source) for source in function.inputs)
        # An argument is called once, however often the function takes it.
        return cls(function.name, inputs, source_of(function.name, _apart(inputs), function.compute))

    def udf(self) -> Any:
        """Return the SDK's own object, as it is attached to a feature group; needs the package hopsworks."""
        import hopsworks

        sdk = hopsworks.hsfs.hopsworks_udf
        return sdk.HopsworksUdf(
            func=self.source,
            return_types=float,
            execution_mode=sdk.UDFExecutionMode.PYTHON,
            name=self.name,
            transformation_features=[sdk.TransformationFeature(name, None) for name in self.inputs],
            transformation_function_argument_names=list(_apart(self.inputs)),
            output_column_names=[self.name],
            generate_output_col_names=False,
        )


def functions_of(group: FeatureGroup) -> tuple[Function, ...]:
    """Return the functions that are registered with a feature group; raises NotDeclarable."""
    return tuple(Function.of(group, function) for function in group.on_demand)


def input_of(group: FeatureGroup, source: str) -> str:
    """Return what an input, `origin.column`, is called in a feature group or in the parameters of a request."""
    origin, _, column = source.partition(".")
    return request_parameter(group, column) if origin == "request" else column


def request_parameter(group: FeatureGroup, column: str) -> str:
    """Return what a column of the request is called among the SDK's `request_parameters`; see the module.

    >>> from applications.fraud.app import APP
    >>> from headrace.hopsworks.declared import Declared
    >>> card = Declared.of(APP).groups[0]
    >>> [request_parameter(card, name) for name in ("amount", "datetime", "cc_num")]
    ['amount', 'request_datetime', 'cc_num']
    """
    stored = {feature.name for feature in group.features if not feature.primary}
    return f"request_{column}" if column in stored else column


def _apart(inputs: tuple[str, ...]) -> tuple[str, ...]:
    met: list[str] = []
    for name in inputs:
        met.append(name if name not in met else f"{name}_{len(met)}")
    return tuple(met)
