"""Plug-ins by entry point: found, named when they clash, and blamed when they do not import."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayci import registry
from rayci.commands import describe
from rayci.errors import RequestError

MODULE = """
from typing import ClassVar
from rayci.intervention import Intervention, Receipt
from rayci.kinds import Kind

class Nothing(Intervention):
    name: ClassVar[str] = "nothing"
    kind: ClassVar[Kind] = Kind.EDIT
    def apply(self, subject, context):
        return Receipt(())
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Put a distribution with one module and one entry point on the path, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(package: str, source: str, entry: str) -> None:
        (tmp_path / f"{package}.py").write_text(source)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        group = "criteria" if "Criterion" in source else "interventions"
        (info / "entry_points.txt").write_text(f"[rayci.{group}]\n{entry}\n")
        importlib.invalidate_caches()
        registry._plugins.cache_clear()

    yield put
    registry._plugins.cache_clear()


def test_a_plugin_is_found(install: Callable[[str, str, str], None]) -> None:
    install("plug_one", MODULE, "nothing = plug_one:Nothing")
    assert "nothing" in registry.interventions()
    assert registry.intervention("nothing").__name__ == "Nothing"


def test_two_plugins_of_one_name(install: Callable[[str, str, str], None]) -> None:
    install("plug_two", MODULE, "nothing = plug_two:Nothing")
    install("plug_three", MODULE, "nothing = plug_three:Nothing")
    with pytest.raises(RequestError, match="plug_three, plug_two"):
        registry.intervention("nothing")


def test_a_plugin_that_takes_a_built_in_name(install: Callable[[str, str, str], None]) -> None:
    install("plug_four", MODULE, "wanda = plug_four:Nothing")
    with pytest.raises(RequestError, match="plug_four, rayci"):
        registry.intervention("wanda")
    assert registry.intervention("ft").name == "ft"


def test_a_plugin_that_calls_itself_otherwise_would_take_the_stages_of_the_other(
    install: Callable[[str, str, str], None],
) -> None:
    install("plug_seven", MODULE, "other = plug_seven:Nothing")
    with pytest.raises(RequestError, match="'other' calls itself 'nothing'"):
        registry.intervention("other")


def test_a_plugin_that_does_not_import_is_an_error_when_named(install: Callable[[str, str, str], None]) -> None:
    install("plug_five", "import no_such_module_anywhere", "broken = plug_five:Nothing")
    assert "broken" in registry.interventions()
    assert registry.intervention("ft").name == "ft"
    with pytest.raises(RequestError, match="plug_five does not import"):
        registry.intervention("broken")
    listed = {row["name"]: row for row in describe.methods()}
    assert "plug_five does not import" in listed["broken"]["what"]
    assert listed["ft"]["kind"] == "edit"


def test_a_plugin_that_is_no_intervention(install: Callable[[str, str, str], None]) -> None:
    install("plug_six", "Nothing = 3", "odd = plug_six:Nothing")
    with pytest.raises(RequestError, match="a subclass of"):
        registry.intervention("odd")


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(RequestError, match="try: edit_success"):
        registry.criterion("edit_sucess")


BROKEN = {
    "does_not_import": "import no_such_module",
    "ends_the_process": "raise SystemExit(3)",
    "is_half_a_method": "from rayci.intervention import Intervention\nclass Nothing(Intervention): pass",
    "is_half_a_criterion": "from rayci.criterion import Criterion\nclass Nothing(Criterion): pass",
    "is_no_class": "Nothing = 5",
    "has_a_strange_grid": MODULE.replace("def apply", "strength = 7\n    def apply"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_hides_no_other(name: str, install: Callable[[str, str, str], None]) -> None:
    install(f"plug_{name}", BROKEN[name], f"{name} = plug_{name}:Nothing")
    listed, known = (
        (describe.criteria(), [*registry.CRITERIA, "lm_eval:<task>"])
        if "criterion" in name
        else (describe.methods(), registry.INTERVENTIONS)
    )
    rows = {row["name"]: row for row in listed}
    assert set(rows) == {*known, name}
    assert len({tuple(row) for row in listed}) == 1
    assert rows[name]["what"] and all(rows[other]["what"] for other in known)


def test_completion_offers_a_broken_plugin_and_all_others(install: Callable[[str, str, str], None]) -> None:
    from rayci.commands.options import names

    install("plug_gone", "raise SystemExit(3)", "gptr = plug_gone:Nothing")
    assert names("interventions")("gpt") == ["gptq", "gptr"]
