"""A spec by file, by name, as an object and as a mapping: the same spec, and the same errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayci.errors import RequestError
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.trials.asked_spec import SHIPPED, read_spec, shipped_names
from tests.command_line import rayci

GOOD: dict[str, Any] = {
    "name": "mine",
    "interventions": {"ft": {}, "wanda": {"sparsity": {"sweep": [0.25, 0.5]}}},
    "criteria": ["edit_success"],
}


def test_shipped_specs_by_name_unless_there_is_such_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"quickstart", "three_way"} <= set(shipped_names())
    shipped = specs.load(SHIPPED / "quickstart.yaml")
    assert read_spec("quickstart")[0] == read_spec("quickstart.yaml")[0] == shipped
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three_way").mkdir()  # a run's folder, say
    assert read_spec("three_way")[0] == specs.load(SHIPPED / "three_way.yaml")
    (tmp_path / "quickstart").write_text("interventions: {ft: {}}\ncriteria: [utility]\n")
    assert list(read_spec("quickstart")[0].interventions) == ["ft"]


def test_a_name_that_is_neither_names_those_there_are() -> None:
    with pytest.raises(RequestError, match=r"no spec 'quickstrat\.yaml'"):
        read_spec("quickstrat.yaml")
    with pytest.raises(RequestError, match="no spec 'quickstrat'") as error:
        read_spec("quickstrat")
    assert error.value.hint == "quickstart" and "three_way" in str(error.value.allowed)
    with pytest.raises(RequestError, match="cannot read the spec"):
        read_spec("no/such.yaml")


def test_a_mapping_a_spec_and_a_file_are_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "interventions: {ft: {}, wanda: {sparsity: {sweep: [0.25, 0.5]}}}\ncriteria: [edit_success]\n"
    )
    written = read_spec(tmp_path / "mine.yaml")[0]
    assert read_spec(GOOD)[0] == written
    assert read_spec(written)[0] == written


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"intervention": {}}, "name: mine\nintervention: {}"),
        ({"interventions": {"wnada": {}}}, "interventions: {wnada: {}}"),
        ({"interventions": {"wanda": {"sparsity": 1.5}}}, "interventions: {wanda: {sparsity: 1.5}}"),
        ({"criteria": ["mmmlu"]}, "criteria: [mmmlu]"),
        ({"replicates": "two"}, "replicates: two"),
    ],
)
def test_the_errors_are_those_of_a_file(change: dict[str, Any], text: str) -> None:
    rest = {key: value for key, value in GOOD.items() if key not in change and not text.startswith(f"{key}:")}
    with pytest.raises(RequestError) as of_mapping:
        read_spec({**rest, **change})
    lines = "\n".join(f"{key}: {value}" for key, value in rest.items() if key not in text).replace("'", "")
    with pytest.raises(RequestError) as of_file:
        specs.from_source(yaml_source.parse(f"{text}\n{lines}\n", "spec"))
    found, expected = of_mapping.value, of_file.value
    assert (found.problem, found.allowed, found.hint) == (expected.problem, expected.allowed, expected.hint)
    assert str(found.at).split(": ")[1:] == str(expected.at).split(": ")[1:]


def test_plan_takes_a_name() -> None:
    done = rayci("plan", "quickstrat")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "  try: quickstart"
