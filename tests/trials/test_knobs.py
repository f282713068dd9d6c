"""The knobs of a run: the options of `rayci run`, and the command that goes on with one."""

from __future__ import annotations

import shlex
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import typer

from rayci.commands.cli import app
from rayci.errors import RequestError
from rayci.trials import launch
from rayci.trials.knobs import Knobs
from rayci.units import GIB

COMMAND = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]

GIVEN = Knobs(
    set=("replicates=3", "data.edits=my edits.jsonl"),
    out=Path("my runs/a"),
    storage="s3://bucket/sweeps",
    store_limit=3 * GIB // 2,
    workers=3,
    address="10.0.0.1:6379",
    gpu_limit=2.5,
    only=("ft > wanda@0.5", "rtn@4"),
    replicate=0,
    log=("tensorboard",),
    sharing=False,
    keep="all",
    quiet=False,
)


def test_every_knob_is_an_option() -> None:
    options = {name for parameter in COMMAND.params for name in parameter.opts}
    assert {f"--{field.name.replace('_', '-')}" for field in fields(Knobs)} <= options


def test_the_command_says_what_was_given() -> None:
    program, verb, *arguments = shlex.split(GIVEN.command("a sweep.yaml"))
    assert (program, verb) == ("rayci", "run")
    parsed = COMMAND.make_context("run", arguments).params
    assert parsed["spec"] == Path("a sweep.yaml") and parsed["out_folder"] == GIVEN.out
    assert parsed["store_limit"] == 1.5 and parsed["only"] == list(GIVEN.only) and parsed["log"] == ["tensorboard"]
    assert parsed["set"] == list(GIVEN.set)
    same = {field.name for field in fields(Knobs)} - {"set", "out", "store_limit", "only", "log"}
    assert {name: parsed[name] for name in same} == {name: getattr(GIVEN, name) for name in same}


def test_the_old_name_of_what_is_kept() -> None:
    seen = {}
    for arguments in ("", "--keep none", "--keep-weights"):
        parsed = COMMAND.make_context("run", ["s.yaml", *arguments.split()]).params
        seen[arguments] = (parsed["keep"], parsed["keep_weights"])
    assert seen == {"": ("shared", False), "--keep none": ("none", False), "--keep-weights": ("shared", True)}
    with pytest.raises(RequestError, match="keep = 'some'"):
        Knobs(keep="some").check()


def test_failures_are_forgotten_once() -> None:
    assert "--retry-failed" not in Knobs(retry_failed=True, quiet=True).command("s.yaml")


def test_knobs_stay_as_they_are() -> None:
    with pytest.raises(FrozenInstanceError):
        GIVEN.workers = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="wokers"):
        launch("s.yaml", wokers=2)
    with pytest.raises(RequestError, match="workers = 0"):
        Knobs(workers=0).check()
    with pytest.raises(RequestError, match="gpu_limit = 0"):
        Knobs(gpu_limit=0).check()
