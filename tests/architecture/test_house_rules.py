"""The rules of the house that can be read off its syntax: sizes, names, one of each, nothing swallowed."""

import ast
import re

import pytest

from tests.architecture.code import PACKAGES, ROOT, files, imports, is_ours, module_of, name_of, tree_of

CODE = files(*PACKAGES)
TESTS = [path for path in files("tests") if "architecture" not in path.parts]
INITS = [path for path in CODE if path.name == "__init__.py"]

LONGEST_FILE = 300
LONGEST_TEST = 400
LONGEST_FUNCTION = 60
#: The outermost loop of each process, and how many broad excepts it has.
BROAD = {"headrace/open_inference/shield.py": 2}  # of a request with a task and of one without
#: Where tests of what is not installed here are left out, each with the command that runs them.
SKIPS = {
    "tests/conformance/conftest.py",
    "tests/feature_pipelines/engines/conftest.py",
    "tests/hopsworks/conftest.py",
    "tests/image/conftest.py",
    "tests/kubernetes/pod_security/conftest.py",
    "tests/kubernetes/real/conftest.py",
    "tests/manifests/conftest.py",
    "tests/manifests/monitoring/conftest.py",
    "tests/predictor/torchserve/conftest.py",
    "tests/predictor/triton/conftest.py",
}
#: What a pure function cannot read: the clock, the environment, chance and files.
IMPURE = {"os", "time", "random", "secrets", "pathlib", "io", "socket", "subprocess", "threading", "asyncio"}


@pytest.mark.parametrize("path", CODE + TESTS, ids=name_of)
def test_a_file_is_short_and_begins_by_saying_what_it_is(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= (LONGEST_FILE if path in CODE else LONGEST_TEST)
    assert ast.get_docstring(tree_of(path)) or not lines


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_a_function_is_short(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_nothing_is_swallowed_but_in_a_process_outermost_loop(path):
    handlers = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ExceptHandler)]
    broad = [h for h in handlers if h.type is None or ast.unparse(h.type) in ("Exception", "BaseException")]
    broad = [handler for handler in broad if ast.unparse(handler.body[-1]) != "raise"]  # passed on is not swallowed
    assert len(broad) <= BROAD.get(name_of(path), 0)


def test_there_is_one_definition_of_the_distance_on_a_sphere():
    named = [name_of(path) for path in CODE for node in ast.walk(tree_of(path)) if "haversine" in defined(node)]
    computed = [name_of(path) for path in CODE if re.search(r"arcsin|asin\(|atan2|6371|6372|6378", path.read_text())]
    assert named == computed == ["headrace/features/geo.py"]


def defined(node: ast.AST) -> str:
    """Return the name a node defines, in small letters; empty where it defines none."""
    return node.name.lower() if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else ""


@pytest.mark.parametrize("path", files("headrace/features"), ids=name_of)
def test_features_are_pure(path):
    loaded = {name.partition(".")[0] for name in imports(path)}
    assert loaded.isdisjoint(IMPURE)
    called = {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}
    assert called.isdisjoint({"open", "print", "input", "datetime.now", "datetime.utcnow", "np.random.default_rng"})


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_no_load_path_runs_what_it_reads(path):
    names = {name.partition(".")[0] for name in imports(path)}
    assert names.isdisjoint({"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"})
    called = {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}
    assert called.isdisjoint({"eval", "exec", "torch.load", "pd.read_pickle", "yaml.load", "__import__"})


@pytest.mark.parametrize("path", INITS, ids=name_of)
def test_a_package_names_what_it_offers(path):
    offered: list[str] = []
    bound: set[str] = set()
    reexports = False
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            offered = ast.literal_eval(node.value)
        elif isinstance(node, ast.ImportFrom) and is_ours(node.module or module_of(path)):
            bound |= {alias.asname or alias.name for alias in node.names}
            reexports = True
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            bound.add(node.name)
        elif isinstance(node, ast.Assign):
            bound |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    if offered or reexports:
        assert sorted(offered) == sorted(name for name in bound if not name.startswith("_"))
    assert len(set(offered)) == len(offered)


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_neither_skip_nor_sleep_nor_promise(path):
    text = path.read_text()
    skips = re.search(r"\b(skip|skipif|xfail|importorskip)\(|mark\.(skip|xfail)|TO" + r"DO|FIX" + "ME", text)
    assert not skips or name_of(path) in SKIPS
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep", "asyncio.sleep"):
            assert ast.unparse(node.args[0]) == "0", f"line {node.lineno}: wait for what happens, not for time"


def test_nothing_committed_names_a_machine():
    text = "\n".join(path.read_text() for path in (*CODE, *files("tests"), ROOT / "Makefile", ROOT / "pyproject.toml"))
    assert not re.search(r"/(home|root|work)/" + r"[a-z]", text)
