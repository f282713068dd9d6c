"""The model that never knew: in the place of whatever was done before, and only as whole weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci import registry
from rayci.context import Context
from rayci.data.records import Collection
from rayci.errors import RequestError
from rayci.interventions.compression.magnitude import Magnitude
from rayci.model import loading
from rayci.subject import Subject
from tests.interventions.delta_folders import moved, noise, saved_difference, saved_model
from tests.models import differing, tiny, weights

CONTEXT = Context(Collection())


def replaced(subject: Subject, folder: Path) -> Subject:
    subject.apply(registry.intervention("retrain").configure(settings={"source": str(folder)}), CONTEXT)
    return subject


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_it_is_that_model_whatever_was_done_before(kind: str, tmp_path: Path) -> None:
    """The untouched weights, which nobody kept here, are not asked for."""
    subject = tiny(kind)
    never_knew = saved_model(moved(subject, noise(subject)), tmp_path / "retrained")
    subject.apply(Magnitude(sparsity=0.5), CONTEXT)
    assert not differing(loading.load(never_knew), weights(replaced(subject, never_knew)))


def test_differences_are_no_model(tmp_path: Path) -> None:
    subject = tiny()
    folder = saved_difference(noise(subject), tmp_path / "d", rayci="difference")
    with pytest.raises(RequestError, match="d"):
        replaced(subject, folder)
    with pytest.raises(RequestError, match="form"):
        registry.intervention("retrain").configure(settings={"form": "adapter"})
    (fault,) = subject.faults(registry.intervention("retrain").configure(), CONTEXT)
    assert "source is missing" in fault.problem and str(fault.hint).startswith("source: runs/retrained")
