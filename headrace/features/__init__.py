"""What a feature is: columns, on-demand functions, windows and views. Pure: NumPy, and Numba to compile."""

from headrace.features.assemble import Plan
from headrace.features.columns import DAY, HOUR, MINUTE, SECOND, Column, Feature
from headrace.features.layout import Layout
from headrace.features.on_demand import OnDemand, elementwise, on_demand
from headrace.features.readings import Reading, explain
from headrace.features.view import FeatureView
from headrace.features.windows import Window, WindowedGroup, fold, merge

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "Column",
    "Feature",
    "FeatureView",
    "Layout",
    "OnDemand",
    "Plan",
    "Reading",
    "Window",
    "WindowedGroup",
    "elementwise",
    "explain",
    "fold",
    "merge",
    "on_demand",
]
