"""What a node is looked at for: what is fine on this machine, and every way in which a node can lack something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from rayci.planning.spec import Spec
from rayci.running import machine_checks
from rayci.running.machine_checks import Finding
from rayci.running.node_report import Needs, report
from rayci.testbed import checkpoint

SPEC = Spec.model_validate({"name": "t", "interventions": {"rtn": {"bits": 4}}, "criteria": ["avg_bits"]})
FEW, TOO_MUCH = 2**20, 2**60


@pytest.fixture
def needs(tmp_path: Path) -> Needs:
    return Needs(
        SPEC,
        commit=None,
        store=str(tmp_path / "run" / "store"),
        gpu=False,
        share=0.0,
        workers=2,
        device_bytes=FEW,
        host_bytes=FEW,
        disk_bytes=FEW,
    )


def found(needs: Needs, at_once: int = 8) -> dict[str, Finding]:
    return {finding.subject: finding for finding in report(needs, at_once, measured=False).findings}


def of_spec(needs: Needs, **changes: Any) -> Needs:
    return replace(needs, spec=needs.spec.model_copy(update=changes))


def test_a_machine_that_has_everything_is_measured_and_left_as_it_was(needs: Needs, tmp_path: Path) -> None:
    told = report(needs, 8, measured=True)
    assert [(finding.subject, finding.state) for finding in told.findings] == [
        (subject, "ok") for subject in ("model", "data", "memory", "disk", "rates")
    ]
    assert told.rates is not None and told.rates.kind == "cpu" and told.rates.fp32 > 1e6
    assert told.began <= told.ended and '"torch"' in told.versions
    assert list(tmp_path.iterdir()) == []


def test_everything_that_is_lacking_is_found_and_nothing_measured(needs: Needs) -> None:
    lacking = of_spec(needs, model="/nowhere", data="/nowhere/too")
    told = report(replace(lacking, host_bytes=TOO_MUCH, disk_bytes=TOO_MUCH), 8, measured=True)
    assert {finding.subject for finding in told.findings if finding.state == "problem"} == {
        "model", "data", "memory", "disk",
    }  # fmt: skip
    assert all(finding.advice for finding in told.findings) and told.rates is None


def test_a_folder_that_cannot_be_written(needs: Needs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(device: str, folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("rayci.running.node_report.measure", refused)
    last = report(needs, 8, measured=True).findings[-1]
    assert last.state == "problem" and "Permission denied" in last.found and "--storage" in last.advice


def test_weights_that_cannot_be_read(needs: Needs, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    for file in checkpoint().iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"")
    assert found(of_spec(needs, model=str(broken)))["model"].state == "problem"


def test_trials_that_fit_alone_and_not_together_are_a_note(needs: Needs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayci.running.machine_checks.host_bytes", lambda: 10 * FEW)
    assert found(replace(needs, host_bytes=4 * FEW))["memory"].state == "ok"  # two workers are all there will be
    several = found(replace(needs, host_bytes=4 * FEW, workers=None))["memory"]
    assert several.state == "note" and "8 trials at once" in several.advice


@pytest.mark.skipif(torch.cuda.is_available(), reason="looks for a GPU where there is none")
def test_a_gpu_that_is_declared_and_not_there(needs: Needs) -> None:
    lacking = found(replace(needs, gpu=True, share=1.0))["GPU"]
    assert lacking.state == "problem" and "rayci doctor" in lacking.advice


@pytest.mark.parametrize(
    ("free", "total", "gpu_memory", "share", "state", "says"),
    [
        (79, 79, 80, 1.0, "ok", "A (79 GiB)"),
        (40, 40, 80, 1.0, "problem", "not 80 GiB"),
        (30, 79, 80, 1.0, "note", "others hold 49 GiB"),
        (30, 79, 80, 0.25, "ok", "A (79 GiB)"),  # its neighbours are trials
        (4, 4, None, 1.0, "note", "a trial may take 8 GiB, its GPUs have 4 GiB"),
    ],
)
def test_memory_of_a_gpu(
    needs: Needs,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    total: int,
    gpu_memory: int,
    share: float,
    state: str,
    says: str,
) -> None:
    monkeypatch.setattr(machine_checks, "gpus", lambda *_: Finding("GPU", "ok", f"A ({total} GiB)"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free * 2**30, total * 2**30))
    resources = SPEC.resources.model_copy(update={"gpu_memory": gpu_memory})
    gpu = found(replace(of_spec(needs, resources=resources), gpu=True, share=share, device_bytes=8 * 2**30))["GPU"]
    assert gpu.state == state and says in gpu.found


def test_a_model_that_is_to_be_fetched_needs_a_hub(
    needs: Needs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = found(of_spec(needs, model="owner/name-1B"))["model"]
    assert model.state == "problem" and "owner/name-1B is not on this node, and HF_HUB_OFFLINE is set" in model.found


@pytest.mark.parametrize("token", [None, "hf_secret"])
def test_a_gated_model_needs_a_token_which_is_never_said(
    needs: Needs, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    from rayci.errors import RequestError
    from rayci.storage import hub_cache

    monkeypatch.setattr(hub_cache, "why_silent", lambda: None)
    monkeypatch.setattr(hub_cache, "snapshot", lambda *_, **__: (_ for _ in ()).throw(hub_cache.Absent("absent")))
    monkeypatch.setattr(
        hub_cache, "access", lambda *_: RequestError("owner/name is gated", hint="accept its conditions")
    )
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    model = found(of_spec(needs, model="owner/name"))["model"]
    assert model.state == "problem" and model.found == "owner/name is not on this node: owner/name is gated"
    missing = "" if token else "HF_TOKEN is not set on this node; "
    assert model.advice == f"{missing}accept its conditions"
