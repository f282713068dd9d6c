"""From a folder to the source that it is, beside a model; loads transformers, which settings alone do not need."""

from __future__ import annotations

from pathlib import Path

from rayci.errors import RequestError
from rayci.interventions.training.delta_base import ADAPTER_CONFIG, DIFFERENCE, Form
from rayci.interventions.training.delta_source import Checkpoint, DeltaSource, Difference
from rayci.interventions.training.delta_tensors import TensorFiles, safetensors_of
from rayci.interventions.training.peft_adapter import Adapter
from rayci.subject import Subject

_FORMS: dict[Form, type[Checkpoint | Difference | Adapter]] = {
    "checkpoint": Checkpoint,
    "difference": Difference,
    "adapter": Adapter,
}


def opened_as(folder: Path, form: Form, subject: Subject) -> DeltaSource:
    """The source; RequestError where it is none of that form, or does not fit the model."""
    return _FORMS[form_of(folder, form)](folder, subject)


def form_of(folder: Path, form: Form) -> Form:
    """What a folder holds, where the settings leave it to the folder.

    An `adapter_config.json` says adapter, the metadata of rayci's own files difference, a `config.json` checkpoint.
    Raises RequestError where nothing of it is there.
    """
    if form != "auto":
        return form
    if (folder / ADAPTER_CONFIG).is_file():
        return "adapter"
    if TensorFiles(safetensors_of(folder)).metadata.get("rayci") == DIFFERENCE:
        return "difference"
    if (folder / "config.json").is_file():
        return "checkpoint"
    raise RequestError(
        f"nothing in {folder} says whether its tensors are weights or differences",
        allowed=f"config.json beside weights, {ADAPTER_CONFIG} beside an adapter",
        hint="form: difference, or form: checkpoint",
        key=("form",),
    )
