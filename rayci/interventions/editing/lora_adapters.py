"""Which linears the editor `lora` adapts, and AdaLoRA's term that keeps its factors orthogonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rayci.interventions.adapters import parts
from rayci.subject import Subject

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel


def attention_targets(subject: Subject) -> tuple[str, ...]:
    """Full names of q and v of every block, or of the fused projection where there is one."""
    group = subject.paths.attention_in
    chosen = (group[0], group[-1]) if len(group) > 1 else group
    return tuple(f"{subject.paths.blocks}.{i}.{path}" for i in range(len(subject.blocks)) for path in chosen)


def orthogonality(tuner: LoraModel) -> Tensor:
    """Mean of ‖AAᵀ − I‖_F and ‖BᵀB − I‖_F over all adapters (arXiv 2303.10512, eq. 4, unsquared as in peft)."""
    rows = parts(tuner, "lora_A") + [value.T for value in parts(tuner, "lora_B")]
    gaps = [torch.linalg.norm(value @ value.T - torch.eye(len(value), device=value.device)) for value in rows]
    return torch.stack([gap.to(gaps[0].device) for gap in gaps]).mean()
