"""RMU_LAT: RMU that holds under latent adversarial perturbations of the forget text.

    inner: min over δ_k, ‖δ_k[token]‖₂ ≤ ε, of CE(forget), δ_k added to the output of each block k in
           `latent_layers`
    outer: a step on RMU's loss with these δ

arXiv 2407.15549 (Sheshadri et al.). The adversary wants the topic's knowledge back, so it lowers the
cross-entropy of its text through the whole model; one that lowered RMU's forget loss would help
the outer step. δ starts at 0; each step moves every token's δ by `inner_lr` down its
normalised gradient and scales it back into the ball. Perturbed blocks must lie below ℓ, where
they can reach the steered states.
No source prints the hyperparameters together with RMU's of arXiv 2407.06483: the defaults are
settings to start from, only the testbed preset was tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError
from rayci.intervention import Preset
from rayci.interventions.predictions import predict
from rayci.interventions.unlearning.activations import shifted
from rayci.interventions.unlearning.rmu import RepresentationMisdirection
from rayci.model.encoding import Batch
from rayci.subject import Subject
from rayci.workload import Workload


def into_ball(shift: Tensor, radius: float) -> Tensor:
    """Each token's vector scaled back to at most `radius`; `[items, tokens, hidden]`."""
    lengths = shift.norm(dim=-1, keepdim=True)
    inside: Tensor = shift * (radius / lengths.clamp(min=1e-12)).clamp(max=1.0)
    return inside


def perturb(
    loss: Callable[[Mapping[int, Tensor]], Tensor], starts: Mapping[int, Tensor], radius: float, steps: int, lr: float
) -> dict[int, Tensor]:
    """Shifts that lower `loss` within the ball, by projected steps of length `lr` for every token.

    A token whose gradient is 0, padding say, does not move.
    """
    shifts = {layer: start.clone().requires_grad_(True) for layer, start in starts.items()}
    for _ in range(steps):
        gradients = torch.autograd.grad(loss(shifts), list(shifts.values()))
        with torch.no_grad():
            for shift, gradient in zip(shifts.values(), gradients, strict=True):
                lengths = gradient.norm(dim=-1, keepdim=True)
                ahead = torch.where(lengths > 0, gradient / lengths, torch.zeros_like(gradient))
                shift.copy_(into_ball(shift - lr * ahead, radius))
    return {layer: shift.detach() for layer, shift in shifts.items()}


class LatentAdversarialMisdirection(RepresentationMisdirection):
    """RMU trained under the perturbations of an inner adversary."""

    name: ClassVar[str] = "rmu_lat"
    paper: ClassVar[str] = "arXiv 2407.15549 (2024)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            **RepresentationMisdirection.presets["testbed"],
            "latent_layers": (0, 1),
            "epsilon": 1.0,
            "inner_steps": 4,
            "inner_lr": 0.4,
        },
    }

    latent_layers: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1, 2), min_length=1)
    """Blocks whose output is perturbed, counted from 0, all below `layer`."""
    epsilon: Annotated[float, Field(gt=0)] = 1.0
    """Radius of the ball around each token's hidden state, in units of the hidden states."""
    inner_steps: Annotated[int, Field(ge=1)] = 8
    """Steps of the adversary for every batch."""
    inner_lr: Annotated[float, Field(gt=0)] = 0.25
    """How far one step of the adversary moves a token, in units of the hidden states."""

    def operations(self, work: Workload) -> Effort:
        """And the adversary's steps, through the whole model and back to the lowest perturbed block."""
        forget = self.batch * work.cut(self.max_tokens)
        back = min(1.0, (work.blocks - min(self.latent_layers)) / work.blocks)
        adversary = work.forward_operations(forget, passes=1) + 2 * work.forward_operations(forget, back, passes=1)
        return super().operations(work) + self.max_batches * self.inner_steps * adversary

    def activations(self, work: Workload) -> int:
        """Those of RMU, or before them the adversary's through the whole model, and its perturbations."""
        tokens = self.forget_tokens(work)
        adversary = work.backward_bytes(tokens, work.blocks) + work.scored_bytes(tokens)
        shifts = 12 * len(self.latent_layers) * tokens * work.hidden
        return max(super().activations(work), adversary) + shifts

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        for layer in self.latent_layers:
            if layer >= self.layer:
                yield RequestError(
                    f"a perturbation at layer {layer} cannot reach layer {self.layer}",
                    allowed=f"latent_layers from 0 to {self.layer - 1}",
                    key=("latent_layers",),
                )

    def shifts(self, subject: Subject, batch: Batch) -> dict[int, Tensor]:
        def cross_entropy(shifts: Mapping[int, Tensor]) -> Tensor:
            with shifted(subject, shifts):
                return -predict(subject, batch).log_probs().sum() / int(batch.labelled.sum())

        zeros = torch.zeros(*batch.input_ids.shape, subject.hidden_size, device=subject.device)
        starts = dict.fromkeys(self.latent_layers, zeros)
        return perturb(cross_entropy, starts, self.epsilon, self.inner_steps, self.inner_lr)
