"""On-demand features: plain functions of request and stored columns, on arrays.

The same function runs in training, in backfill and at request time. It takes one
array (or scalar) per input, in the declared order, and returns one value per row;
missing inputs are NaN and give NaN. It is pure: the same inputs give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headrace.features.identity import function_identity

Function = TypeVar("Function", bound=Callable[..., Any])
_MARK = "headrace_elementwise"


def elementwise(function: Function) -> Function:
    """Declare that a function makes one number of one row's numbers, which its source says for single values too.

    It stays the function it is. Wherever features are computed, in training as at request time, it is run as a loop
    in machine code, which for one row costs a tenth of the array operations it is written in. It may use NumPy's
    elementwise functions, constants, and other elementwise functions by their names.
    """
    setattr(function, _MARK, True)
    return function


def is_elementwise(value: Any) -> bool:
    """Tell whether this is a function that was declared elementwise."""
    return getattr(value, _MARK, False) is True


@dataclass(frozen=True, slots=True)
class OnDemand:
    """A named function over columns, each input given as `origin.column`.

    >>> twice = OnDemand("twice", lambda amount: amount * 2, inputs=("request.amount",))
    >>> twice(21.0)
    42.0
    """

    name: str
    compute: Callable[..., Any]
    inputs: tuple[str, ...]
    unit: str = ""
    missing: float = math.nan
    meaning: str = ""
    identity: str = field(init=False, default="")

    def __post_init__(self) -> None:
        for source in self.inputs:
            if source.count(".") != 1:
                raise ValueError(
                    f"on-demand feature {self.name!r} has input {source!r}, needs 'request.column' or 'group.column'"
                )
        object.__setattr__(self, "identity", function_identity(self.compute))

    def __call__(self, *inputs: Any) -> Any:
        return self.compute(*inputs)


def on_demand(
    *, inputs: tuple[str, ...], name: str = "", unit: str = "", missing: float = math.nan, meaning: str = ""
) -> Callable[[Callable[..., Any]], OnDemand]:
    """Declare a plain function as an on-demand feature, named after the function unless said otherwise.

    >>> @on_demand(inputs=("request.amount",), missing=-1.0)
    ... def half(amount):
    ...     return amount / 2
    >>> half.name, half(3.0)
    ('half', 1.5)
    """

    def declare(compute: Callable[..., Any]) -> OnDemand:
        said = meaning or (compute.__doc__ or "").strip().split("\n")[0]
        return OnDemand(name or compute.__name__, compute, inputs, unit, missing, said)

    return declare
