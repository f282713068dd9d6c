"""The house's floors: imports go down only, never in a circle, and light packages stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = (
    {"errors", "kinds", "fingerprint", "settings", "units"}
    | {
        "storage.atomic",
        "storage.compaction",
        "storage.digests",
        "storage.entries",
        "storage.file_hashes",
        "storage.prepared",
        "storage.sealed",
    }
    | {"storage.hub_cache", "storage.named_folders", "storage.urls", "storage.user_paths"},
    {"item_values", "table", "model", "data", "testbed"},
    {"intervention", "criterion", "context", "effort", "subject", "registry", "workload"}
    | {"model.loading", "model.shapes"},
    {"interventions", "criteria", "codec"},
    {"planning", "storage"},
    {"running", "forecast", "inplace", "conformance", "export"},
    {"trials", "analysis"},
    {"commands", "__main__"},
)
"""Rooms from the ground up; a module that is named itself stands there, not with its room."""
ANALYSIS_FLOORS = ({"statistics"}, {"scan"}, {"composing"}, {"text"}, {"answering"}, {"page"}, {"scan.sources"})
"""Rooms of analysis from the ground up; what `load` returns offers all of them as methods and stands above."""
ANALYSIS_STANDS_ON = {"errors", "item_values", "kinds", "table", "storage.atomic"}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module, each file once."""
    files = [path for top in ("rayci", "trials", "analysis") for path in sorted((ROOT / top).rglob("*.py"))]
    names = {}
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[:2] in (("rayci", "trials"), ("rayci", "analysis")):
            continue
        parts = parts if parts[0] == "rayci" else ("rayci", *parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules named by import statements, wherever they stand; those for type checkers only left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                yield longer if longer in MODULES else str(node.module)
        yield from imports(node)


def floor(module: str) -> int | None:
    """Floor of a module; None for the package itself, which stands outside."""
    if module == "rayci":
        return None
    inside = module.removeprefix("rayci.")
    return standing(inside, FLOORS)


def standing(module: str, floors: tuple[set[str], ...]) -> int:
    """The one floor on which a module, or else its room, stands."""
    for name in (module, module.split(".")[0]):
        places = [index for index, rooms in enumerate(floors) if name in rooms]
        if places:
            assert len(places) == 1, f"{name} stands on two floors"
            return places[0]
    raise AssertionError(f"{module} has no floor: give it one")


def own(module: str) -> list[str]:
    return [name for name in imports(ast.parse(MODULES[module].read_text())) if name.split(".")[0] == "rayci"]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    here = floor(module)
    for imported in own(module):
        there = floor(imported)
        if here is not None and there is not None:
            assert there <= here, f"{module} imports {imported}, which is upstairs"


def test_no_circles() -> None:
    graph = {module: {name for name in own(module) if name not in ("rayci", module)} for module in MODULES}
    # A package's __init__ that loads its members on demand is not a circle.
    lazy = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    try:
        order = list(TopologicalSorter({k: v for k, v in graph.items() if k not in lazy}).static_order())
    except CycleError as error:
        pytest.fail(f"circle: {' > '.join(error.args[1])}")
    assert len(order) > 50


def test_no_name_stands_in_two_rooms() -> None:
    stems = [path.stem for path in MODULES.values() if not path.stem.startswith("__")]
    assert [stem for stem in set(stems) if stems.count(stem) > 1] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("rayci.analysis")])
def test_analysis_stands_on_five_modules(module: str) -> None:
    for imported in own(module):
        inside = imported.removeprefix("rayci.")
        known = inside in ANALYSIS_STANDS_ON or inside == "rayci" or inside.split(".")[0] == "analysis"
        assert known, f"{module} imports {imported}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("rayci.analysis.")])
def test_imports_go_down_within_analysis(module: str) -> None:
    here = standing(module.removeprefix("rayci.analysis."), ANALYSIS_FLOORS)
    for imported in own(module):
        if imported.startswith("rayci.analysis."):
            there = standing(imported.removeprefix("rayci.analysis."), ANALYSIS_FLOORS)
            assert there <= here, f"{module} imports {imported}, which is upstairs"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("rayci.trials")])
def test_ray_is_imported_in_trials_alone(module: str) -> None:
    found = [name for name in imports(ast.parse(MODULES[module].read_text())) if name.split(".")[0] == "ray"]
    assert found == []


@pytest.mark.parametrize(
    "statement", ["import rayci", "import rayci.analysis", "import rayci.trials", "import rayci.commands.cli"]
)
def test_light_imports(statement: str) -> None:
    code = (
        f"{statement}\nimport sys\n"
        "print(*[name for name in ('torch', 'ray', 'transformers', 'datasets', 'lm_eval') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_analysis_at_work_is_light() -> None:
    code = """
import sys
from rayci import analysis
assert len(analysis.metrics(analysis.load("published:llama3_8b"), at="published"))
print(*[name for name in ("torch", "ray", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
