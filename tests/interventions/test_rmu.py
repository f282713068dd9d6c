"""RMU against a hand-made loss and an independent loop; RMU_LAT's inner loop; what both do to the testbed."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.data.records import Document
from rayci.errors import DataError, RequestError
from rayci.interventions.batches import choose
from rayci.interventions.unlearning.activations import block_output, masked_mse, shifted
from rayci.interventions.unlearning.latent import LatentAdversarialMisdirection, into_ball, perturb
from rayci.interventions.unlearning.rmu import RepresentationMisdirection, Steering, control_vector
from rayci.model.encoding import encode_texts
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.losses import batch_loss
from tests.interventions.test_unlearning import assert_close
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {
    "layer": 2,
    "alpha": 5.0,
    "lr": 1e-3,
    "batch": 3,
    "max_batches": 4,
    "max_tokens": 24,
    "storage": "float32",
}
BOTH: tuple[type[RepresentationMisdirection], ...] = (RepresentationMisdirection, LatentAdversarialMisdirection)
LATENT: dict[str, Any] = {"latent_layers": (0, 1), "inner_steps": 3, "inner_lr": 0.1, "epsilon": 0.5}


def settings(method: type[RepresentationMisdirection], **changes: Any) -> RepresentationMisdirection:
    return method(**{**SMALL, **(LATENT if method is LatentAdversarialMisdirection else {}), **changes})


def test_mse_by_hand_leaves_padding_out() -> None:
    states = torch.tensor([[[1.0, 3.0], [9.0, 9.0]], [[0.0, 0.0], [2.0, 0.0]]])
    mask = torch.tensor([[1, 0], [1, 1]])
    target = torch.tensor([1.0, 1.0])
    # squares over the three unmasked tokens: (0, 4), (1, 1), (1, 1): 8 over six elements
    assert masked_mse(states, target, mask).item() == pytest.approx(8 / 6)


def test_control_vectors_are_uniform_normalised_and_scaled() -> None:
    drawn = control_vector(torch.Generator().manual_seed(1), 512, 20.0)
    assert drawn.norm().item() == pytest.approx(20.0, rel=1e-6)
    assert bool((drawn >= 0).all())
    raw = torch.rand(512, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, 20 * raw / raw.pow(2).sum().sqrt())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "opt"])
def test_block_output_is_what_transformers_calls_hidden_states(kind: str) -> None:
    subject = tiny(kind)
    batch = encode_texts(subject.tokenizer, [d.text for d in CONTEXT.data.forget[:3]], 20)
    with torch.no_grad():
        every = subject.model(batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
        before = [len(module._forward_hooks) for module in subject.model.modules()]
        for layer in (0, 1):  # the last entry has the final norm on it
            torch.testing.assert_close(block_output(subject, layer, batch), every.hidden_states[layer + 1])
    assert [len(module._forward_hooks) for module in subject.model.modules()] == before


def states_of(subject: Subject, layer: int, text: str, limit: int) -> Tensor:
    ids = torch.tensor([subject.tokenizer(text)["input_ids"][:limit]])
    found: Tensor = subject.model(ids, output_hidden_states=True).hidden_states[layer + 1][0]
    return found


def by_hand(subject: Subject, frozen: Subject, made: RepresentationMisdirection) -> None:
    """Texts one at a time: no padding, no hooks."""
    forget, retain = choose(CONTEXT, "forget", None)[0], choose(CONTEXT, "retain", None)[0]
    topics = sorted({document.topic for document in forget})
    generator = CONTEXT.generator("rmu control vectors")
    targets = {topic: control_vector(generator, 128, made.coefficient) for topic in topics}
    queues = {topic: [d for d in forget if d.topic == topic] for topic in topics}
    trained = [subject.block(i).get_submodule("mlp.down_proj").weight for i in (0, 1, 2)]
    moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in trained]
    for step, topic in zip(range(made.max_batches), itertools.cycle(topics), strict=False):
        limit = made.topic_tokens.get(topic, made.max_tokens)
        group = [queues[topic].pop(0) for _ in range(made.batch)]
        far = torch.cat([(states_of(subject, 2, d.text, limit) - targets[topic]).flatten() for d in group])
        beside = retain[step * made.batch : (step + 1) * made.batch]
        near = []
        for document in beside:
            with torch.no_grad():
                before = states_of(frozen, 2, document.text, made.retain_tokens)
            near.append((states_of(subject, 2, document.text, made.retain_tokens) - before).flatten())
        loss = far.square().mean() + made.alpha * torch.cat(near).square().mean()
        size = made.lr * (1 - 0.999 ** (step + 1)) ** 0.5 / (1 - 0.9 ** (step + 1))
        for weight, gradient, (mean, square) in zip(trained, torch.autograd.grad(loss, trained), moments, strict=True):
            mean.mul_(0.9).add_(gradient, alpha=0.1)
            square.mul_(0.999).add_(gradient**2, alpha=0.001)
            weight.data.sub_(size * mean / (square.sqrt() + 1e-6))


def test_a_training_equals_an_independent_loop() -> None:
    subject, reference = testbed(), testbed()
    made = settings(RepresentationMisdirection, topic_tokens={"toxin": 12})
    subject.apply(made, CONTEXT)
    by_hand(reference, testbed(), made)
    assert_close(subject, reference, testbed())


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(("update", "layers"), [(3, {0, 1, 2}), (1, {2})])
def test_only_the_named_down_projections_change(
    method: type[RepresentationMisdirection], update: int, layers: set[int]
) -> None:
    subject = testbed()
    before = weights(subject)
    receipt = subject.apply(settings(method, update=update), CONTEXT)
    expected = {f"model.layers.{i}.mlp.down_proj.weight" for i in layers}
    assert differing(subject, before) == set(receipt.changed) == expected


def mean_distance(subject: Subject, batch: Any, target: Tensor) -> float:
    with torch.no_grad():
        return masked_mse(block_output(subject, 2, batch), target, batch.attention_mask).item()


@cache
def unlearned(method: type[RepresentationMisdirection], seed: int) -> Subject:
    """The testbed after the method's preset, for all tests that look at it and leave it as it is."""
    subject = testbed()
    subject.apply(method.configure("testbed"), replace(CONTEXT, seed=seed))
    return subject


def test_forget_states_move_to_the_control_vector_and_retain_states_stay() -> None:
    subject, base = unlearned(RepresentationMisdirection, 0), testbed()
    training = RepresentationMisdirection.configure("testbed").prepare(testbed(), CONTEXT)
    assert isinstance(training, Steering)
    for topic, target in training.targets.items():
        texts = [d.text for d in CONTEXT.data.forget if d.topic == topic][:10]
        batch = encode_texts(subject.tokenizer, texts, 64)
        assert mean_distance(subject, batch, target) < 0.7 * mean_distance(base, batch, target)
    kept = encode_texts(subject.tokenizer, [d.text for d in CONTEXT.data.retain[:10]], 64)
    with torch.no_grad():
        before = block_output(base, 2, kept)
        assert mean_distance(subject, kept, before) < 0.2 * masked_mse(before, before * 0, kept.attention_mask).item()


@pytest.mark.parametrize("method", BOTH)
def test_the_number_of_batches_is_honoured_and_topics_take_turns(method: type[RepresentationMisdirection]) -> None:
    one, two = testbed(), testbed()
    assert one.apply(settings(method, max_batches=1), CONTEXT).counts["steps"] == 1
    assert two.apply(settings(method, max_batches=2), CONTEXT).counts["steps"] == 2
    assert differing(one, weights(two))
    training = settings(method).prepare(testbed(), CONTEXT)
    assert isinstance(training, Steering)
    seen = [topic for _, (topic, _) in zip(range(5), training._forget_batches(), strict=False)]
    assert seen == ["reagent", "toxin", "reagent", "toxin", "reagent"]


def test_more_batches_than_text_start_over() -> None:
    data = CONTEXT.data
    few = Context(type(data)(forget=data.forget[:2], retain=data.retain[:2]))
    assert testbed().apply(settings(RepresentationMisdirection, max_batches=5), few).counts["steps"] == 5


def test_padding_changes_nothing() -> None:
    short, long = Document("Verafen.", "a"), Document(CONTEXT.data.forget[0].text, "a")
    data = type(CONTEXT.data)(forget=(short, long), retain=CONTEXT.data.retain[:2])
    subject = testbed()
    training = settings(RepresentationMisdirection).prepare(subject, Context(data))
    assert isinstance(training, Steering)
    together = training._misdirect("a", [short, long])
    with torch.no_grad():
        alone = [states_of(subject, 2, d.text, 24) - training.targets["a"] for d in (short, long)]
    assert together == pytest.approx(torch.cat(alone).square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("method", BOTH)
def test_bad_requests_are_one_error_before_any_weight_is_touched(method: type[RepresentationMisdirection]) -> None:
    subject = tiny()  # three blocks
    before = weights(subject)
    with pytest.raises(RequestError, match="layer 3 does not exist"):
        subject.apply(settings(method, layer=3), CONTEXT)
    with pytest.raises(RequestError, match="layer -1 does not exist"):
        subject.apply(settings(method, update=4), CONTEXT)
    for part in ("forget", "retain"):
        lacking: dict[str, Any] = {"forget": CONTEXT.data.forget, "retain": CONTEXT.data.retain, part: ()}
        with pytest.raises(DataError, match=part):
            subject.apply(settings(method), Context(type(CONTEXT.data)(**lacking)))
    if method is LatentAdversarialMisdirection:
        with pytest.raises(RequestError, match="cannot reach layer 2"):
            subject.apply(settings(method, latent_layers=(0, 2)), CONTEXT)
    assert differing(subject, before) == set()


@pytest.mark.parametrize("method", BOTH)
def test_equal_seeds_give_equal_bits_and_storage_rounds(method: type[RepresentationMisdirection]) -> None:
    first, again, other = testbed(), testbed(), testbed()
    made = settings(method, storage="bfloat16")
    receipt = first.apply(made, CONTEXT)
    again.apply(made, CONTEXT)
    other.apply(made, Context(CONTEXT.data, seed=1))
    assert differing(first, weights(again)) == set()
    assert differing(first, weights(other))
    for value in first.parameters_of(receipt.changed).values():
        assert value.detach().equal(value.detach().bfloat16().float())


def test_the_published_settings() -> None:
    made = RepresentationMisdirection()
    assert (made.layer, made.coefficient, made.alpha, made.lr, made.batch) == (3, 20, 1000, 5e-5, 4)
    assert (made.max_batches, made.max_tokens, made.topic_tokens, made.retain_tokens) == (250, 512, {"cyber": 768}, 512)
    assert {method().storage for method in BOTH} == {"bfloat16"}
    assert {method.version for method in BOTH} == {3}


# latent perturbations


def test_into_ball_scales_tokens_one_by_one() -> None:
    shift = torch.tensor([[[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]])
    torch.testing.assert_close(into_ball(shift, 1.0), torch.tensor([[[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]]))


def test_the_inner_loop_finds_the_best_point_of_the_ball() -> None:
    goal = torch.tensor([[[3.0, 4.0], [0.1, 0.0]]])
    found = perturb(lambda s: (s[0] - goal).square().sum(), {0: torch.zeros(1, 2, 2)}, 1.0, 300, 0.02)
    torch.testing.assert_close(found[0], torch.tensor([[[0.6, 0.8], [0.1, 0.0]]]), atol=3e-2, rtol=0)


def test_the_adversary_brings_the_topic_back_inside_the_ball() -> None:
    subject = copy.deepcopy(unlearned(RepresentationMisdirection, 0))
    made = LatentAdversarialMisdirection.configure("testbed")
    training = made.prepare(subject, CONTEXT)
    assert isinstance(training, Steering)
    topic = next(iter(training.targets))
    texts = [d.text for d in CONTEXT.data.forget if d.topic == topic][:4]
    batch = encode_texts(subject.tokenizer, texts, 64)

    def loss(shifts: Mapping[int, Tensor]) -> float:
        with shifted(subject, shifts):
            return batch_loss(subject, batch).item()

    shifts = made.shifts(subject, batch)
    assert set(shifts) == {0, 1}
    assert max(shift.norm(dim=-1).max().item() for shift in shifts.values()) <= made.epsilon * (1 + 1e-6)
    assert all(bool((shift[batch.attention_mask == 0] == 0).all()) for shift in shifts.values())
    with torch.no_grad():
        assert loss(shifts) < 0.9 * loss({})


def test_the_adversary_does_not_help_the_outer_step() -> None:
    subject = testbed()
    made = LatentAdversarialMisdirection.configure("testbed")
    training = made.prepare(subject, CONTEXT)
    assert isinstance(training, Steering)
    topic, target = next(iter(training.targets.items()))
    texts = [d.text for d in CONTEXT.data.forget if d.topic == topic][:4]
    batch = encode_texts(subject.tokenizer, texts, 64)

    def steered(shifts: Mapping[int, Tensor]) -> Tensor:
        return masked_mse(block_output(subject, made.layer, batch, shifts=shifts), target, batch.attention_mask)

    zeros = dict.fromkeys(made.latent_layers, torch.zeros(*batch.input_ids.shape, len(target)))
    helping = perturb(steered, zeros, made.epsilon, made.inner_steps, made.inner_lr)
    shifts = made.shifts(subject, batch)
    with torch.no_grad():
        without, with_help, under_attack = (steered(each).item() for each in ({}, helping, shifts))
    assert with_help < without
    assert without - under_attack < 0.5 * (without - with_help)


@pytest.mark.parametrize(
    ("method", "seed"),
    [
        (RepresentationMisdirection, 0),
        pytest.param(RepresentationMisdirection, 1, marks=pytest.mark.slow),
        pytest.param(LatentAdversarialMisdirection, 0, marks=pytest.mark.slow),
        pytest.param(LatentAdversarialMisdirection, 1, marks=pytest.mark.slow),
    ],
)
def test_on_the_testbed_hazard_falls_and_utility_stays(method: type[RepresentationMisdirection], seed: int) -> None:
    subject, context = unlearned(method, seed), replace(CONTEXT, seed=seed)
    hazard, utility = (registry.criterion(name)().measure(subject, context).value for name in ("hazard", "utility"))
    assert hazard <= 0.45
    assert utility >= 0.9
