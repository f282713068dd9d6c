"""A stage that added what was trained elsewhere: its card names the source and its content, its spec makes it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci.export.building import build
from rayci.export.card import card
from rayci.export.reproduction import reproduce
from rayci.export.wanted import Wanted, of_spec
from rayci.interventions.training.delta import Delta
from rayci.planning.sweep import Sweep
from tests.models import differing, weights
from tests.planning.test_own_folders import differences, spec


def test_card_and_spec_of_a_stage_with_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = differences(tmp_path / "change")
    sweep = Sweep.open(spec(str(folder), (f"rtn@4 > delta@2{{source={folder}}}",)))
    for text in ("delta@0.5 > rtn@4", f"rtn@4 > delta@2{{source={folder}}}"):
        wanted = Wanted(sweep, sweep.planner.trial(text, 0, 0), 2)
        written = reproduce(wanted)
        assert "~/change" in written and str(tmp_path) not in written
        (tmp_path / "reproduce.yaml").write_text(written)
        again = of_spec(tmp_path / "reproduce.yaml", stage=wanted.stage.fingerprint[:16])
        assert again.stage.fingerprint == wanted.stage.fingerprint
        built = build(wanted)
        told = card(built.origin, "float32", None, False)
        assert f"change, content {Delta(source=str(folder)).effective()['source']}" in told
        assert str(tmp_path) not in told
        assert not differing(build(again).subject, weights(built.subject))
