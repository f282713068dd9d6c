"""Loading, and what importing costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from rayci import analysis
from rayci.analysis.scan.sources import Results
from rayci.errors import RequestError
from rayci.table import write_part
from tests.analysis.synthetic_table import SCALES, both_orders

ROWS = both_orders("ft", "wanda", "mmlu", {0.25: 0.5, 0.5: 0.4}, {0.25: 0.5, 0.5: 0.3})


def test_run_folder_folder_of_parts_and_part(tmp_path: Path) -> None:
    write_part(ROWS, SCALES, tmp_path / "table" / "a.parquet")
    for path in (tmp_path, tmp_path / "table", str(tmp_path / "table" / "a.parquet")):
        table = analysis.load(path)
        assert len(table) == 4
        assert table.metrics()["n_points"].tolist() == [2]
        assert len(table.curves(["mmlu"])) == 2


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no result table"):
        analysis.load(tmp_path)


def _fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_neither_torch_nor_ray_is_loaded() -> None:
    use = (
        "from rayci import analysis; t = analysis.load('published:llama3_8b'); analysis.metrics(t); analysis.wins(t);"
        "analysis.curves(t); analysis.report; import sys; print({'torch', 'ray', 'transformers'} & set(sys.modules))"
    )
    assert _fresh(use) == "set()"


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'pandas', 'numpy', 'pyarrow', 'plotly', 'matplotlib', 'jinja2', 'torch', 'ray'}"
    assert _fresh(f"import rayci.analysis, sys; print({heavy} & set(sys.modules))") == "set()"


def test_public_functions_stay_functions_after_their_modules_load() -> None:
    code = (
        "from rayci import analysis; from importlib import import_module; import pkgutil;"
        "[import_module(f'rayci.analysis.{m.name}') for m in pkgutil.iter_modules(analysis.__path__)];"
        "print(not any(isinstance(getattr(analysis, name), type(pkgutil)) for name in analysis.__all__))"
    )
    assert _fresh(code) == "True"


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = analysis.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(set(dir(Results)) & set(analysis.__all__)))
def test_a_method_takes_what_the_function_of_its_name_takes(name: str) -> None:
    method, function = (
        inspect.signature(call).parameters.values() for call in (getattr(Results, name), getattr(analysis, name))
    )
    assert [(each.name, each.default) for each in method][1:] == [(each.name, each.default) for each in function][1:]
