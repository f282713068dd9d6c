"""MEMIT, step 5: keys, residuals and the closed-form update of one projection.

A = (λC + KKᵀ)⁻¹K,  W += R·Aᵀ    (arXiv 2210.07229, eq. 14)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rayci.errors import InterventionError
from rayci.interventions.editing.memit_contexts import Example
from rayci.interventions.editing.memit_hooks import on_input, on_output, run, stop
from rayci.model import modules
from rayci.model.encoding import chunks
from rayci.subject import Subject

_DAMPING = (0.0, 1e-6, 1e-5, 1e-4)
"""Shares of the mean diagonal that are added when the system is singular; 0 is the formula itself."""
_RESIDUAL = 1e-6
"""Largest ‖(λC + KKᵀ)A − K‖ / ‖K‖ of a valid solution."""


def solve(covariance: Tensor, keys: Tensor, weight: float) -> tuple[Tensor, float]:
    """A `[in, edits]` in float64, and the damping that it took; `keys` is K `[in, edits]`.

    InterventionError where the system stays singular with the largest damping.
    """
    k = keys.double()
    system = weight * covariance.to(k.device).double() + k @ k.T
    for damping in _DAMPING:
        damped = system + damping * system.diagonal().mean() * torch.eye(len(system), device=k.device)
        solution, info = torch.linalg.solve_ex(damped, k)
        error = (damped @ solution - k).norm()
        if not bool(info) and bool(torch.isfinite(solution).all()) and bool(error <= _RESIDUAL * k.norm()):
            return solution, damping
    raise InterventionError("λC + KKᵀ cannot be solved: the covariance or the keys are singular or not finite")


def update(covariance: Tensor, keys: Tensor, residual: Tensor, weight: float) -> tuple[Tensor, float]:
    """ΔW `[out, in]` in float64 for keys K `[in, edits]` and residuals R `[out, edits]`, and the damping it took."""
    adjusted, damping = solve(covariance, keys, weight)
    return residual.to(adjusted.device).double() @ adjusted.T, damping


@torch.no_grad()
def keys_and_outputs(
    subject: Subject, layer: int, last: int, examples: Sequence[Example], batch: int
) -> tuple[Tensor, Tensor]:
    """K `[in, edits]` of `layer` and the output of block `last` at the bare prompt's lookup token `[hidden, edits]`.

    A key is one half bare prompt and one half the mean of the generated contexts.
    """
    keys: list[Tensor] = []
    outputs: list[Tensor] = []
    projection = modules.dense(subject.block(layer), subject.paths.mlp_out)
    for part in chunks(examples, batch):
        rows = [prompt for example in part for prompt in example.prompts]
        at = (torch.arange(len(rows)), torch.tensor([prompt.lookup for prompt in rows]))

        def read(hidden: Tensor, into: list[Tensor], at: tuple[Tensor, Tensor] = at, edits: int = len(part)) -> Tensor:
            by_row = hidden.reshape(len(at[0]), -1, hidden.shape[-1])  # OPT flattens rows and tokens
            into.append(by_row[at].float().unflatten(0, (edits, -1)))  # [edits, contexts, width]
            return hidden

        with (
            on_input(projection, lambda hidden: read(hidden, keys)),
            on_output(subject.block(last), lambda hidden: stop(read(hidden, outputs))),
        ):
            run(subject.model, [prompt.ids for prompt in rows])
    by_context = torch.cat(keys)
    return mean_key(by_context).T, torch.cat(outputs)[:, 0].T


def mean_key(by_context: Tensor) -> Tensor:
    """Half the first context (the bare prompt), half the mean of the others; `[edits, contexts, in]` in."""
    if by_context.shape[1] == 1:
        return by_context[:, 0]
    return (by_context[:, 0] + by_context[:, 1:].mean(1)) / 2
