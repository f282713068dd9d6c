"""Fine-tuning on edits: what changes, what the loss is, where it stops."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.data.records import Collection, EditRecord
from rayci.errors import RequestError
from rayci.interventions.editing.finetuning import FineTuning, clamp_change
from rayci.model.encoding import IGNORED, encode_targets, encode_texts
from rayci.testbed import collection
from tests.interventions.losses import edit_loss
from tests.models import differing, testbed, tiny, tokenizer, weights

CONTEXT = Context(collection(), batch_size=10)
LR = 2e-3
TRAINED = {"model.layers.1.mlp.down_proj.weight", "model.layers.2.mlp.down_proj.weight"}


def ft(**settings: Any) -> FineTuning:
    return FineTuning.configure("testbed", settings={"layers": (1, 2), "lr": LR, **settings})


def uneven() -> Context:
    """Edits with prompts and targets of one to many tokens, so that padding and means matter."""
    edits = (
        EditRecord("Ada", "Question: where was Ada born? Answer:", "Xanadu by the sea", "Rome"),
        EditRecord("Bo", "Bo is", "a", "b"),
        EditRecord("Cy", "The friend of Cy in the old town by the river is called", "Zed", "Al"),
    )
    return Context(replace(collection(), edits=edits), batch_size=3)


def test_only_the_projections_of_its_layers_change() -> None:
    subject = testbed()
    before = weights(subject)
    receipt = subject.apply(ft(steps=2), CONTEXT)
    assert set(receipt.changed) == TRAINED
    assert differing(subject, before) == TRAINED
    assert receipt.counts["steps"] == 2
    assert receipt.counts["edits"] == 10


def test_the_loss_is_the_mean_over_edits_of_the_mean_over_target_tokens() -> None:
    subject, context = testbed(), uneven()
    with torch.no_grad():
        expected = edit_loss(subject, context.edits).item()
    receipt = subject.apply(ft(steps=1), context)
    assert receipt.counts["loss"] == pytest.approx(expected, rel=1e-5)


def test_its_steps_are_adam_on_the_independent_gradient() -> None:
    subject, reference, context = testbed(), testbed(), uneven()
    subject.apply(ft(steps=3), context)
    parameters = [value for name, value in reference.model.named_parameters() if name in TRAINED]
    optimizer = torch.optim.Adam(parameters, lr=LR)
    for _ in range(3):
        optimizer.zero_grad()
        edit_loss(reference, context.edits).backward()
        optimizer.step()
    now, then, start = weights(subject), weights(reference), weights(testbed())
    for name in TRAINED:
        gap, moved = (now[name] - then[name]).abs(), (then[name] - start[name]).abs()
        assert moved.mean() > LR
        # Adam turns a gradient near 0 into a whole step of either sign: a few may differ
        assert gap.mean() < 1e-3 * moved.mean()


def test_minibatches_are_adam_on_the_gradients_of_each_in_turn() -> None:
    """Two passes over ten edits, four at a time: against a plain loop that shuffles and steps by itself."""
    subject, reference = testbed(), testbed()
    receipt = subject.apply(ft(minibatch=4, epochs=2), CONTEXT)
    assert receipt.counts["steps"] == 6
    parameters = [value for name, value in reference.model.named_parameters() if name in TRAINED]
    optimizer, order, losses = torch.optim.Adam(parameters, lr=LR), list(range(10)), []
    for _ in range(2):
        for start in (0, 4, 8):
            optimizer.zero_grad()
            edits = [CONTEXT.edits[place] for place in order[start : start + 4]]
            losses.append((loss := edit_loss(reference, edits)).item() * len(edits) / 10)
            loss.backward()
            optimizer.step()
        CONTEXT.random("ft minibatches").shuffle(order)
    assert receipt.counts["loss"] == pytest.approx(sum(losses[3:]), rel=1e-4)
    now, then, start_at = weights(subject), weights(reference), weights(testbed())
    for name in TRAINED:
        gap, moved = (now[name] - then[name]).abs(), (then[name] - start_at[name]).abs()
        assert gap.mean() < 1e-3 * moved.mean()


def test_a_minibatch_of_all_edits_is_the_batch_and_steps_cut_the_last_pass() -> None:
    subject, whole, cut = testbed(), testbed(), testbed()
    subject.apply(ft(steps=1, minibatch=10), CONTEXT)
    whole.apply(ft(steps=1), CONTEXT)
    assert differing(subject, weights(whole)) == set()
    assert cut.apply(ft(steps=4, minibatch=4), CONTEXT).counts["steps"] == 4  # a pass and a third
    assert testbed().apply(ft(epochs=3, stop_loss=0.0), CONTEXT).counts["steps"] == 3


def test_the_order_of_minibatches_is_drawn_from_the_seed_and_passes_are_shuffled() -> None:
    one = ft(minibatch=3, epochs=3)
    passes = one._passes(7, CONTEXT)
    assert [list(map(len, groups)) for groups in passes] == [[3, 3, 1]] * 3
    assert all(sorted(itertools.chain(*groups)) == list(range(7)) for groups in passes)
    assert len(set(passes)) == 3
    assert passes == one._passes(7, CONTEXT) != one._passes(7, replace(CONTEXT, seed=1))
    assert one.seeded and not ft().seeded and not ft(epochs=3).seeded


def test_a_minibatch_that_is_learned_takes_no_step_and_a_pass_that_is_ends_the_training() -> None:
    losses = [edit_loss(testbed(), [edit]).item() for edit in CONTEXT.edits]
    between = sorted(losses)[4] + 1e-3
    learned = sum(loss < between for loss in losses)
    subject = testbed()
    receipt = subject.apply(ft(lr=1e-12, minibatch=1, epochs=1, stop_loss=between), CONTEXT)
    assert receipt.counts["steps"] == 10 - learned
    known = testbed()
    receipt = known.apply(ft(minibatch=1, epochs=50, stop_loss=max(losses)), CONTEXT)
    assert receipt.counts["loss"] < max(losses) and receipt.counts["steps"] <= 10


def test_a_learned_minibatch_leaves_no_gradient_to_the_next_step() -> None:
    edits = sorted(CONTEXT.edits[:2], key=lambda edit: edit_loss(testbed(), [edit]).item())
    stop = edit_loss(testbed(), edits[:1]).item() + 1e-3  # the first is learned, the second is not
    pair = Context(Collection(edits=tuple(edits), arranged=frozenset({"edits"})), batch_size=2)
    alone = Context(Collection(edits=(edits[1],)), batch_size=1)
    subject, reference = testbed(), testbed()
    subject.apply(ft(minibatch=1, epochs=1, stop_loss=stop), pair)
    reference.apply(ft(steps=1, stop_loss=0.0), alone)
    assert differing(subject, weights(reference)) == set()


def test_minibatches_store_bfloat16_after_every_step() -> None:
    half, single = testbed(), testbed()
    for subject, storage in ((half, "bfloat16"), (single, "float32")):
        subject.apply(ft(minibatch=5, epochs=2, storage=storage), CONTEXT)
    for name in TRAINED:
        stored, exact = weights(half)[name], weights(single)[name]
        assert stored.equal(stored.bfloat16().float())
        assert not stored.equal(exact.bfloat16().float())  # rounded once at the end, it would be


def test_the_loss_falls() -> None:
    subject = testbed()
    with torch.no_grad():
        before = edit_loss(subject, CONTEXT.edits).item()
    subject.apply(ft(steps=12), CONTEXT)
    with torch.no_grad():
        assert edit_loss(subject, CONTEXT.edits).item() < 0.2 * before


def test_it_stops_early_and_says_when() -> None:
    subject = testbed()
    receipt = subject.apply(ft(steps=50, stop_loss=1.0), CONTEXT)
    assert 1 <= receipt.counts["steps"] < 20
    assert receipt.counts["loss"] < 1.0
    with torch.no_grad():
        assert edit_loss(subject, CONTEXT.edits).item() == pytest.approx(receipt.counts["loss"], rel=1e-4)


def test_nothing_changes_where_the_edits_are_known_already() -> None:
    subject = testbed()
    before = weights(subject)
    receipt = subject.apply(ft(stop_loss=1e3), CONTEXT)
    assert receipt.counts["steps"] == 0
    assert differing(subject, before) == set()


def test_weights_stay_in_the_ball() -> None:
    subject, radius = testbed(), 3e-3
    before = weights(subject)
    subject.apply(ft(steps=8, max_change=radius), CONTEXT)
    for name in TRAINED:
        change = (weights(subject)[name] - before[name]).abs()
        assert change.max() <= radius * (1 + 1e-4)
        assert (change > radius * 0.999).float().mean() > 0.1  # without it, eight steps go further


def test_clamping_by_hand() -> None:
    values = torch.tensor([1.0, 2.0, 3.0])
    clamp_change(values, torch.tensor([1.5, 2.0, 2.0]), 0.25)
    assert values.tolist() == [1.25, 2.0, 2.25]


def test_bfloat16_storage_leaves_weights_that_bfloat16_holds() -> None:
    half, single = testbed(), testbed()
    half.apply(ft(steps=3, storage="bfloat16"), CONTEXT)
    single.apply(ft(steps=3), CONTEXT)
    for name in TRAINED:
        stored, exact = weights(half)[name], weights(single)[name]
        assert stored.dtype == torch.float32
        assert stored.equal(stored.bfloat16().float())
        assert not exact.equal(exact.bfloat16().float())


def test_the_published_preset_stores_bfloat16() -> None:
    assert FineTuning.configure("published").storage == "bfloat16"
    assert FineTuning.configure("testbed").storage == "float32"


def test_bfloat16_storage_loses_small_steps() -> None:
    subject = tiny()
    with torch.no_grad():
        for parameter in subject.model.parameters():
            parameter.copy_(parameter.bfloat16())
    before = weights(subject)
    subject.apply(FineTuning(layers=(1,), lr=1e-7, steps=2, storage="bfloat16"), CONTEXT)
    moved = weights(subject)["model.layers.1.mlp.down_proj.weight"] != before["model.layers.1.mlp.down_proj.weight"]
    assert moved.float().mean() < 0.01


@pytest.mark.parametrize("layers", [(1, 99), (3,)])
def test_a_layer_beyond_the_model_is_refused_before_any_weight_changes(layers: tuple[int, ...]) -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match=rf"layer {layers[-1]} does not exist") as error:
        subject.apply(FineTuning(layers=layers), CONTEXT)
    assert error.value.allowed == "0 to 2"
    assert differing(subject, before) == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 0.0),
        ("steps", 0),
        ("layers", (-1,)),
        ("storage", "float64"),
        ("max_change", 0.0),
        ("minibatch", 0),
        ("epochs", 0),
    ],
)
def test_bad_settings_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(RequestError, match=key):
        ft(**{key: value})


def test_labels_are_the_target_and_never_padding() -> None:
    pairs = [(edit.prompt, edit.target_new) for edit in uneven().edits]
    batch = encode_targets(tokenizer(), pairs)
    assert (batch.attention_mask == 0).any()
    assert (batch.labels[batch.attention_mask == 0] == IGNORED).all()
    for labels, mask, (prompt, target) in zip(batch.labels, batch.attention_mask, pairs, strict=True):
        length, end = len(tokenizer()(prompt)["input_ids"]), int(mask.sum())
        assert (labels[:length] == IGNORED).all()
        assert tokenizer().decode(labels[length:end]) == " " + target


def test_labels_of_texts_are_all_their_tokens() -> None:
    texts = ["the", "the the the the the", "the the"]
    batch = encode_texts(tokenizer(), texts, max_tokens=4)
    assert batch.input_ids.shape == (3, 4)
    assert batch.labels.equal(batch.input_ids.masked_fill(batch.attention_mask == 0, IGNORED))
    assert batch.attention_mask.sum(1).tolist() == [2, 4, 3]  # with the leading end-of-text token
