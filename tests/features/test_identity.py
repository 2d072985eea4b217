"""A function's identity follows its meaning, and nothing else about it."""

import functools
import importlib.util
import itertools
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from headrace.features.identity import digest, function_identity

_COUNT = itertools.count()


@pytest.fixture
def identity(tmp_path):
    """Return what gives the identity of `f` in a file of this text."""

    def read(text: str, name: str = "f") -> str:
        module = load(tmp_path, text)
        return function_identity(getattr(module, name))

    return read


def load(folder, text: str, name: str = ""):
    """Import text as a module of its own."""
    name = name or f"written_{next(_COUNT)}"
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


PLAIN = """
    def f(x, y):
        return x + y * 2
"""


@pytest.mark.parametrize(
    "same",
    [
        "def f(x,y): return x+y*2",
        "def f(x, y):\n    # a remark\n    return (x +\n        (y * 2))\n",
        'def f(x, y):\n    """Say what it does."""\n    return x + y * 2',
        "from typing import Any\ndef f(x: Any, y: Any = ...) -> Any: return x + y * 2".replace(" = ...", ""),
        "import numpy as np\n\n\nZ = 3\ndef g(): return Z\ndef f(x, y): return x + y * 2",
    ],
)
def test_format_comments_docstrings_annotations_and_neighbours_do_not_count(identity, same):
    assert identity(same) == identity(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        "def f(x, y): return x + y * 3",
        "def f(x, y): return x - y * 2",
        "def f(y, x): return x + y * 2",
        "def f(x, y=1): return x + y * 2",
        "def f(x, y): return x + y * 2.0",
        "def f(x, y):\n    x = x + 0\n    return x + y * 2",
    ],
)
def test_a_changed_body_or_signature_counts(identity, other):
    assert identity(other) != identity(PLAIN)


REFERRING = {
    "number": "K = {}\ndef f(x): return x * K",
    "default": "K = {}\ndef f(x, k=K): return x * k",
    "tuple": "K = (1, {})\ndef f(x): return x * K[1]",
    "dict": "K = {{'a': {}}}\ndef f(x): return x * K['a']",
    "set": "K = {{1, {}}}\ndef f(x): return x in K",
    "array": "import numpy as np\nK = np.array([1, {}])\ndef f(x): return x * K[1]",
    "function": "def g(x): return x * {}\ndef f(x): return g(x)",
    "function of a function": "def h(x): return x * {}\ndef g(x): return h(x)\ndef f(x): return g(x)",
    "two lambdas": "a = lambda x: x\nb = lambda x: x * {}\ndef f(x): return a(x) + b(x)",
    "closure": "def make(k):\n    def f(x): return x * k\n    return f\nf = make({})",
    "closed-over function": (
        "def make(g):\n    def f(x): return g(x)\n    return f\ndef scale(x): return x * {}\nf = make(scale)"
    ),
    "wrapper": (
        "import functools\ndef twice(g):\n    @functools.wraps(g)\n    def inner(x): return g(x) * {}\n"
        "    return inner\n@twice\ndef f(x): return x"
    ),
    "partial": "import functools\ndef g(x, k): return x * k\nf = functools.partial(g, k={})",
    "nested function": "K = {}\ndef f(x):\n    def g(): return K\n    return g() * x",
    "comprehension": "K = {}\ndef f(x): return [K * y for y in x]",
    "lambda": "f = lambda x: x * {}",
    "one of two lambdas in a line": "fs = [lambda x: x, lambda x: x * {}]\nf = fs[1]",
    "on-demand feature": (
        "from headrace.features import on_demand\n@on_demand(inputs=('request.x',))\ndef g(x): return x * {}\n"
        "def f(x): return g(x)"
    ),
}


@pytest.mark.parametrize("kind", REFERRING)
def test_what_a_function_refers_to_counts(identity, kind):
    text = REFERRING[kind]
    assert identity(text.format(5)) == identity(text.format(5))
    assert identity(text.format(5)) != identity(text.format(6))


def test_a_function_reached_through_its_module_counts(identity, tmp_path):
    def calling(body: str) -> str:
        helpers = f"helpers_{next(_COUNT)}"
        load(tmp_path, f"def g(x): return {body}", helpers)
        return identity(f"import {helpers} as helpers\ndef f(x): return helpers.g(x)").replace(helpers, "")

    assert calling("x * 2") != calling("x * 3")


def test_lambdas_survive_being_laid_out_otherwise(identity):
    tight = "fs = dict(a=lambda x: x + 1, b=lambda x: x + 2)\nf = fs['a']"
    loose = "fs = dict(\n    a=lambda x: (  # one more\n        x + 1\n    ),\n    b=lambda x: x + 2,\n)\nf = fs['a']"
    assert identity(tight) == identity(loose)


def test_recursion_and_mutual_recursion_end(identity):
    assert identity("def f(x): return f(x - 1) if x else 0")
    assert identity("def g(x): return f(x)\ndef f(x): return g(x)")


def test_identity_is_the_same_in_another_process(tmp_path):
    text = REFERRING["closed-over function"].format(2) + "\nS = {'a', 'b', 'c'}\nh = f\n"
    text += "def f(x): return h(x) if x in S else 0\n"
    load(tmp_path, text, "elsewhere")
    here = function_identity(sys.modules["elsewhere"].f)
    there = subprocess.run(
        [
            sys.executable,
            "-c",
            "import elsewhere; from headrace.features.identity import *; print(function_identity(elsewhere.f))",
        ],
        env={"PYTHONPATH": f"{tmp_path}:.", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_numpy_is_known_by_name():
    assert function_identity(np.log1p) == function_identity(np.log1p) != function_identity(np.log)
    assert function_identity(np.clip) != function_identity(np.where)
    assert function_identity(functools.partial(np.power, 2)) != function_identity(functools.partial(np.power, 3))


def test_what_cannot_be_seen_into_is_refused(identity):
    with pytest.raises(ValueError, match=r"in function 'f', 'model' is a object, which a fingerprint cannot see into"):
        identity("model = object()\ndef f(x): return model(x)")
    with pytest.raises(ValueError, match="'f' refers to 'later', which is not defined before it"):
        identity("def f(x): return later(x)")
    with pytest.raises(ValueError, match="the function itself is a object, which a fingerprint cannot see into"):
        function_identity(object())  # type: ignore[arg-type]


def test_a_function_without_a_file_says_so():
    space: dict = {"__name__": "typed"}
    exec("def f(x): return x", space)  # noqa: S102
    with pytest.raises(
        ValueError, match="the source of 'f' cannot be read, a fingerprint needs it: define it in a file"
    ):
        function_identity(space["f"])


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
