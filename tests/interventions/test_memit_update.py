"""MEMIT's closed form, keys and covariance: against least squares, by hand, against naive loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from rayci.context import Context
from rayci.errors import DataError, InterventionError
from rayci.interventions.activation_hooks import run
from rayci.interventions.editing import key_covariances
from rayci.interventions.editing.edit_contexts import encode_edits
from rayci.interventions.editing.edit_keys import keys_and_outputs, mean_key
from rayci.interventions.editing.key_covariances import CovarianceText, covariances
from rayci.interventions.editing.memit_update import solve, update
from rayci.model import modules
from rayci.model.built_objects import InMemory
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import tiny

CONTEXT = Context(collection(), batch_size=4)
TEMPLATES = ("{}", "The end. {}", "You said that it is. {}")
DRAW = torch.Generator().manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW)


def test_two_by_two_by_hand() -> None:
    covariance = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    keys, residual = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [-1.0]])
    # λC + kkᵀ = [[2, 2], [2, 6]] at λ = 1; its determinant is 8, so A = ([6·1 − 2·2, −2·1 + 2·2]) / 8
    solution, damping = solve(covariance, keys, 1.0)
    assert solution.flatten().tolist() == pytest.approx([0.25, 0.25])
    assert damping == 0
    change, _ = update(covariance, keys, residual, 1.0)
    assert change.flatten().tolist() == pytest.approx([0.75, 0.75, -0.25, -0.25])


@pytest.mark.parametrize(("inputs", "edits", "weight"), [(6, 3, 0.5), (8, 20, 30.0)])
def test_the_update_is_the_least_squares_solution(inputs: int, edits: int, weight: float) -> None:
    """min ‖ΔK − R‖² + λ‖ΔX‖²/n over Δ, X the text's keys: stacked rows, solved by SVD in float64."""
    text, keys, residual = random(inputs, 50), random(inputs, edits), random(5, edits)
    covariance = (text.double() @ text.double().T / 50).float()
    root = scipy.linalg.sqrtm(weight * covariance.double().numpy()).real
    stacked = np.vstack([keys.double().numpy().T, root])
    wanted = np.vstack([residual.double().numpy().T, np.zeros((inputs, 5))])
    expected = np.linalg.lstsq(stacked, wanted, rcond=None)[0].T
    change, _ = update(covariance, keys, residual, weight)
    assert change.dtype == torch.float64
    np.testing.assert_allclose(change.numpy(), expected, rtol=1e-9, atol=1e-11)


def test_dead_inputs_are_damped_and_said() -> None:
    covariance, keys = torch.diag(torch.tensor([1.0, 0.0, 2.0])), torch.tensor([[1.0], [0.0], [1.0]])
    solution, damping = solve(covariance, keys, 1.0)
    assert damping > 0
    assert solution[1] == 0
    full, _ = solve(covariance[[0, 2]][:, [0, 2]], keys[[0, 2]], 1.0)
    torch.testing.assert_close(solution[[0, 2]], full, rtol=1e-4, atol=1e-6)


def test_statistics_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(InterventionError, match="not finite"):
        solve(torch.full((2, 2), torch.nan), torch.ones(2, 1), 1.0)


def test_a_key_is_half_the_bare_prompt() -> None:
    by_context = torch.tensor([[[4.0, 0.0], [1.0, 2.0], [3.0, 4.0]]])
    assert mean_key(by_context).tolist() == [[3.0, 1.5]]
    assert mean_key(by_context[:, :1]).tolist() == [[4.0, 0.0]]


def alone(subject: Subject, layer: int, ids: list[int]) -> tuple[Tensor, Tensor]:
    """Inputs of one projection and outputs of one block for one text, `[tokens, width]`, without padding."""
    seen: list[Tensor] = []
    projection = modules.linear(subject.block(layer), subject.paths.mlp_out)
    handles = [
        projection.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(0, -2))),
        subject.block(layer).register_forward_hook(
            lambda _, args, out: seen.append((out[0] if isinstance(out, tuple) else out).flatten(0, -2))
        ),
    ]
    with torch.no_grad():
        subject.model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return seen[0], seen[1]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize("batch", [1, 3])
def test_keys_and_outputs_are_those_of_each_prompt_alone(kind: str, batch: int) -> None:
    subject = tiny(kind)
    examples = encode_edits(subject.tokenizer, CONTEXT.edits, TEMPLATES)
    keys, outputs = keys_and_outputs(subject, 0, 1, examples, batch)
    for column, example in enumerate(examples):
        inputs = [alone(subject, 0, prompt.ids)[0][prompt.lookup] for prompt in example.prompts]
        torch.testing.assert_close(keys[:, column], inputs[0] / 2 + (inputs[1] + inputs[2]) / 4, rtol=1e-4, atol=1e-5)
        bare = example.prompts[0]
        torch.testing.assert_close(
            outputs[:, column], alone(subject, 1, bare.ids)[1][bare.lookup], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_covariance_is_the_mean_over_tokens_that_are_not_padding(kind: str) -> None:
    subject = tiny(kind)
    rows = [[5, 6, 7], [8] * 20, [9, 10], [11, 12, 13, 14, 15, 16, 17]]
    found = covariances(subject, (0, 2), rows, batch=3)
    for layer in (0, 2):
        keys = torch.cat([alone(subject, layer, row)[0] for row in rows]).double()
        assert len(keys) == 32
        expected = sum(torch.outer(key, key) for key in keys) / 32
        assert found[layer].dtype == torch.float32
        torch.testing.assert_close(found[layer].double(), expected, rtol=1e-4, atol=1e-6)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens, padding included, of every forward pass of the covariances."""
    passes: list[int] = []
    monkeypatch.setattr(
        key_covariances, "run", lambda model, rows: (passes.append(len(rows) * max(map(len, rows))), run(model, rows))
    )
    return passes


def test_rows_of_one_length_stand_together(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, rows = counted(monkeypatch), [[7] * length for length in (2, 9, 2, 8, 3, 9)]
    found = covariances(tiny(), (0,), rows, 2)
    assert passes == [18, 16, 4] and passes[0] == max(passes), "the longest first; four of 38 tokens are padding"
    alone = covariances(tiny(), (0,), rows, 1)
    torch.testing.assert_close(found[0], alone[0])


def test_the_same_model_and_text_are_found_again_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = counted(monkeypatch)
    context = replace(CONTEXT, objects=InMemory(), tokens=torch.arange(5, 45).view(2, 20))

    def found(subject: Subject, layers: tuple[int, ...] = (0, 1), context: Context = context) -> dict[int, Tensor]:
        return dict(CovarianceText(subject, context, 10, 99).covariances(layers, 2).by_layer)

    first, again = found(tiny()), found(tiny())
    assert len(passes) == 1 and all(first[layer].equal(again[layer]) for layer in (0, 1))
    changed = tiny()
    with torch.no_grad():
        changed.model.get_parameter("model.layers.0.mlp.down_proj.weight").mul_(1.5)
    assert not found(changed)[1].equal(first[1]), "a model changed meanwhile never meets old statistics"
    for different in (
        lambda: found(tiny(), (1,)),
        lambda: found(tiny(), context=replace(context, tokens=torch.arange(6, 46).view(2, 20))),
        lambda: found(tiny(), context=replace(context, tokens=None)),
        lambda: found(tiny(), context=replace(context, tokens=None, seed=1)),
    ):
        before = len(passes)
        different()
        assert len(passes) > before


def test_what_was_used_least_recently_goes_when_memory_is_full() -> None:
    memory, model, one = InMemory(most=2 * 4 * 100), tiny().model, {"w": torch.zeros(100)}
    for what in (1, 2, 1, 3):
        memory.built(model, what, lambda: one)

    def never() -> dict[str, Tensor]:
        raise AssertionError("built again")

    for what in (1, 3):
        assert memory.built(model, what, never)["w"].equal(one["w"])
    with pytest.raises(AssertionError, match="built again"):
        memory.built(model, 2, never)


def covariance_rows(context: Context, documents: int, max_tokens: int) -> list[list[int]]:
    return [list(row) for row in CovarianceText(tiny(), context, documents, max_tokens).rows()]


def test_documents_are_cut_and_counted() -> None:
    rows = covariance_rows(CONTEXT, 7, 5)
    assert len(rows) == 7
    assert max(map(len, rows)) == 5
    assert len(covariance_rows(CONTEXT, 10**6, 5)) == len(CONTEXT.data.calibration)
    assert max(map(len, covariance_rows(CONTEXT, 50, 10**6))) <= tiny().context_length
    assert covariance_rows(replace(CONTEXT, seed=1), 7, 5) != rows
    given = replace(CONTEXT, tokens=torch.arange(12).view(3, 4))
    assert covariance_rows(given, 2, 3) == [[0, 1, 2], [4, 5, 6]]


def test_no_text_at_all_is_an_error() -> None:
    none = replace(CONTEXT, data=replace(collection(), calibration=()))
    with pytest.raises(DataError, match="holds 0 tokens"):
        CovarianceText(tiny(), none, 7, 5).check((0,))
