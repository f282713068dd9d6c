"""`rayci init`: a starter spec that plans, whatever model and methods it is asked for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from rayci import registry
from rayci.commands import cli
from rayci.commands.starter import starter
from rayci.errors import RequestError
from rayci.kinds import Recompress
from rayci.planning import plan as plans
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.planning.faults import Examination


def made(model: str, *methods: str) -> specs.Spec:
    return specs.from_source(yaml_source.parse(starter(model, methods, "sweep.yaml"), "sweep.yaml"))


def test_the_testbeds_is_whole() -> None:
    spec = made("testbed")
    assert list(Examination.of(spec).faults()) == []
    assert {"edit_success", "hazard", "utility", "perplexity", "sparsity"} <= set(spec.criteria)
    assert len(plans.make(spec).trials) > 50


def test_a_real_models_reads_the_published_data() -> None:
    spec = made("meta-llama/Llama-3.2-1B")
    assert spec.data == "published" and {"wmdp", "mmlu", "wikitext_ppl"} <= set(spec.criteria)
    assert spec.reads() >= {"edits", "forget", "retain", "calibration", "covariance_text", "wikitext"}


@pytest.mark.parametrize("method", [name for name in registry.interventions() if name != "sure"])
def test_any_method_alone(method: str) -> None:
    assert list(made("testbed", method).interventions) == [method]


def test_training_after_unlearning_is_measured_by_what_comes_back() -> None:
    spec = made("testbed", "relearn", "npo")
    assert "hazard" in spec.criteria and list(Examination.of(spec).faults()) == []
    assert {"npo > relearn@0.25", "npo > relearn@4"} <= {trial.composition for trial in plans.make(spec).trials}


@pytest.mark.parametrize(("method", "field"), [("delta", "source"), ("ties", "sources"), ("retrain", "source")])
def test_a_folder_that_must_be_given_is_not_guessed(method: str, field: str) -> None:
    with pytest.raises(RequestError, match=f"{method} needs {field}, which a starter cannot guess"):
        made("owner/name", "memit", method)


def test_comments_name_what_may_stand_there() -> None:
    (line,) = (line for line in starter("testbed", (), "sweep.yaml").splitlines() if line.startswith("recompress: "))
    named = line.rpartition(";")[2].replace(",", " ").split()
    assert set(named) - {"or"} < set(Recompress), "and not `none`, which no spec takes"


def test_methods_of_one_kind_are_paired_too() -> None:
    assert any(">" in trial.composition for trial in plans.make(made("testbed", "wanda", "rtn")).trials)
    with pytest.raises(RequestError, match="wnada"):
        made("testbed", "wnada")


@pytest.mark.parametrize("name", ["my model: 7b # old", "null", "7"])
def test_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert made(name).model == name


@pytest.mark.parametrize("name", ["", "nosuch", "no such!!/x", "a/b/c", "owner/"])
def test_what_can_be_no_model_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="owner/name"):
        starter(name, (), "sweep.yaml")


def test_every_way_of_recompressing_that_it_names_is_one() -> None:
    line = next(line for line in starter("testbed", (), "sweep.yaml").splitlines() if line.startswith("recompress"))
    named = {word for word in re.findall(r"\w+", line) if word in set(Recompress)}
    assert named == {Recompress.REFIT, Recompress.REPROJECT, Recompress.NEVER} and "none" not in line


def test_a_file_that_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for code in (0, cli.WRONG_REQUEST):
        monkeypatch.setattr(sys, "argv", ["rayci", "init", "--methods", "ft,wanda", "--out", "mine.yaml"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert (stop.value.code or 0) == code
    assert "mine.yaml is there already" in capsys.readouterr().err
    assert list(specs.load("mine.yaml").interventions) == ["ft", "wanda"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
