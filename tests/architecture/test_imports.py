"""Who may import whom: the drawing of the architecture, made to run."""

import pytest

from tests.architecture.code import PACKAGES, ROOT, files, imports, is_ours, module_of, name_of

#: What the modules below a name may import of ours; the longest name that fits a module counts.
MAY_IMPORT = {
    "headrace": ("headrace.features", "headrace.stores", "headrace.open_inference"),
    "headrace.compiled": ("headrace.kept_loops",),
    "headrace.features": ("headrace.compiled",),
    "headrace.http": (),
    "headrace.open_inference": ("headrace.compiled", "headrace.http"),
    "headrace.stores": ("headrace.compiled", "headrace.features", "headrace.http"),
    "headrace.manifests": ("headrace.settings", "headrace.cache_folder"),
    "headrace.conformance": ("headrace.open_inference.grpc.messages",),
    "headrace.cli": PACKAGES,
    "feature_pipelines": ("headrace",),
    "transformer": ("headrace", "transformer.in_process"),
    "transformer.in_process": ("headrace", "predictor"),
    "predictor": ("headrace",),
    "monitoring": ("headrace",),
    "applications": ("headrace", "predictor"),
}
#: The folders of the wire: each may import those before it, and what lies beside them imports none.
WIRE = ("codec", "rest", "grpc", "client", "serving")
#: What nobody may import but itself.
ENDS = ("headrace.cli", "tests", "benchmarks")


def below(name: str, parent: str) -> bool:
    """Tell whether a dotted name is `parent` or lies in it."""
    return name == parent or name.startswith(f"{parent}.")


def home(module: str) -> str:
    """Return the longest name in the drawing that a module lies in."""
    return max((name for name in MAY_IMPORT if below(module, name)), key=len)


def allowed(module: str, imported: str) -> bool:
    """Tell whether a module may import a name of ours."""
    own = home(module)
    if imported == "headrace" or imported == "headrace.__version__" or home(imported) == own:
        return True  # the version is everybody's
    if any(below(imported, end) and not below(module, end) for end in ENDS):
        return False
    return any(below(imported, name) for name in MAY_IMPORT[own])


@pytest.mark.parametrize("path", files(*PACKAGES), ids=name_of)
def test_a_module_imports_only_what_lies_below_it(path):
    module = module_of(path)
    for imported in imports(path):
        if not is_ours(imported):
            continue
        assert not below(imported, "tests"), f"{module} imports {imported}: tests are nobody's library"
        assert not below(imported, "benchmarks"), f"{module} imports {imported}: benchmarks are nobody's library"
        assert allowed(module, imported), (
            f"{module} imports {imported}: {home(module)} may import {MAY_IMPORT[home(module)]}"
        )


def floor_of(module: str) -> int:
    """Return which folder of the wire a name lies in: -1 for what lies beside them, their number for it as a whole."""
    _, _, name, *_ = [*module.split("."), ""]
    if (ROOT / "headrace" / "open_inference" / f"{name}.py").exists():
        return -1
    return WIRE.index(name) if name in WIRE else len(WIRE)


@pytest.mark.parametrize("path", files("headrace/open_inference"), ids=name_of)
def test_folders_of_the_wire_use_those_before_them(path):
    module = module_of(path)
    for imported in imports(path):
        if below(imported, "headrace.open_inference"):
            assert floor_of(imported) <= floor_of(module), f"{module} imports {imported}"


@pytest.mark.parametrize(
    ("module", "floor"),
    [
        ("headrace.open_inference", 5),
        ("headrace.open_inference.make_app", 5),
        ("headrace.open_inference.errors.NotReady", -1),
        ("headrace.open_inference.codec", 0),
        ("headrace.open_inference.codec.bodies.decode_request", 0),
        ("headrace.open_inference.serving.server", 4),
    ],
)
def test_floors_are_told_right(module, floor):
    assert floor_of(module) == floor


@pytest.mark.parametrize("path", files("applications"), ids=name_of)
def test_applications_do_not_import_each_other(path):
    own = module_of(path).split(".")[:2]
    for imported in imports(path):
        assert not below(imported, "applications") or imported.split(".")[:2] == own


@pytest.mark.parametrize(
    ("module", "imported", "wanted"),
    [
        ("headrace.features.view", "headrace.features.columns.Column", True),
        ("headrace.features.view", "headrace.stores.online", False),
        ("headrace.stores.online", "headrace.features.windows.merge", True),
        ("headrace.stores.online", "headrace.open_inference.errors", False),
        ("headrace.open_inference.rest.app", "headrace.features", False),
        ("headrace.application", "headrace.features.FeatureView", True),
        ("headrace.application", "headrace.cli.main", False),
        ("headrace.cli.demo", "predictor.train", True),
        ("transformer.model", "headrace.settings", True),
        ("transformer.model", "predictor.server", False),
        ("transformer.model", "applications.fraud", False),
        ("predictor.server", "headrace.cli", False),
        ("applications.fraud.model", "predictor.train", True),
        ("applications.fraud.app", "transformer.model", False),
    ],
)
def test_the_drawing_tells_right_from_wrong(module, imported, wanted):
    assert allowed(module, imported) is wanted
