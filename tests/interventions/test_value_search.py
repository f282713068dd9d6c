"""MEMIT's contexts, lookup tokens and z: against a plain loop, and each property on its own."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rayci.conformance.bench import streams_used
from rayci.context import Context
from rayci.data.records import Collection, EditRecord
from rayci.errors import RequestError
from rayci.interventions.activation_hooks import on_output
from rayci.interventions.editing.edit_contexts import STARTS, encode_edit, encode_edits, generate_templates
from rayci.interventions.editing.memit import Memit
from rayci.interventions.editing.value_passes import Passes
from rayci.interventions.editing.value_search import Targets, find_targets
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.test_architectures import BLOOM_MAP, bloom
from tests.interventions.value_loop import one_z
from tests.models import ARCHITECTURES, HIDDEN, differing, testbed, tiny, tokenizer, weights

TEMPLATES = ("{}", "The end. {}", "You said that it is so. {}")
EDITS = (
    EditRecord("Ada Xi", "Question: where was Ada Xi born? Answer:", "Xanadu by the sea", "Rome"),
    EditRecord("Bo", "Bo is", "a", "b"),
    *collection().edits[:3],
)


def search(subject: Subject, batch: int, edits: tuple[EditRecord, ...] = EDITS, layer: int = 1, **kw: Any) -> Targets:
    examples = encode_edits(subject.tokenizer, edits, TEMPLATES)
    return find_targets(subject, layer, examples, Memit(**kw).search, batch)


@pytest.mark.parametrize(
    ("kl", "kind"), [*(("edited_to_base", kind) for kind in ARCHITECTURES), ("base_to_edited", "llama")]
)
def test_z_is_that_of_the_plain_loop(kl: Any, kind: str) -> None:
    # in a short window no later token sees the subject: then rounding is all that Adam follows
    subject = tiny(kind, **({"sliding_window": 64} if kind == "mistral" else {}))
    settings: dict[str, Any] = {"kl": kl, "lr": 0.2, "passes": 8, "clamp": 2.0, "kl_factor": 1.0}
    found = search(subject, 3, **settings)
    for z, edit in zip(found.z, EDITS, strict=True):
        expected = one_z(subject, 1, edit, TEMPLATES, Memit(**settings).search)
        assert (z - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_partial_pass_says_what_a_whole_one_says(kind: str) -> None:
    """Also where attention slides: Mistral's window here is eight tokens."""
    subject = tiny(kind)
    examples = encode_edits(subject.tokenizer, EDITS, TEMPLATES)
    delta = torch.randn(len(EDITS), HIDDEN, generator=torch.Generator().manual_seed(0))
    reading = Passes(subject, 0, examples).read(range(len(EDITS)), delta)
    for i, example in enumerate(examples):
        losses = []
        for prompt in (*example.prompts, example.essence):

            def insert(
                hidden: torch.Tensor, lookup: int = prompt.lookup, shift: torch.Tensor = delta[i]
            ) -> torch.Tensor:
                moved = hidden.clone()
                moved[0, lookup] += shift
                return moved

            ids = torch.tensor([prompt.ids + example.target])
            with torch.no_grad(), on_output(subject.block(0), insert):
                log_probs = torch.log_softmax(subject.model(ids).logits[0], dim=-1)
            if prompt is example.essence:
                torch.testing.assert_close(reading.essence[i], log_probs[prompt.lookup], rtol=1e-4, atol=1e-4)
            else:
                picked = log_probs[len(prompt.ids) - 1 : -1].gather(1, torch.tensor(example.target)[:, None])
                losses.append(-picked.mean())
        torch.testing.assert_close(reading.target_loss[i], torch.stack(losses).mean(), rtol=1e-4, atol=1e-4)


def test_blocks_that_return_tuples_and_positions_without_ids() -> None:
    subject = loading.wrap(bloom(), tokenizer(), BLOOM_MAP)
    settings: dict[str, Any] = {"lr": 0.2, "passes": 6, "clamp": 2.0}
    found = search(subject, 3, layer=0, **settings)
    for z, edit in zip(found.z, EDITS, strict=True):
        expected = one_z(subject, 0, edit, TEMPLATES, Memit(**settings).search)
        assert (z - expected).norm() < 1e-3 * expected.norm()


def test_the_lookup_token_may_come_first() -> None:
    subject = tiny("gpt2")
    bare = loading.wrap(subject.model, byte_level())
    edits = (EditRecord("A", "A is", "b", "c"), EditRecord("B", "B was", "dd", "c"))
    examples = encode_edits(bare.tokenizer, edits, ("{}",))
    assert [prompt.lookup for example in examples for prompt in (*example.prompts, example.essence)] == [0] * 4
    settings = Memit(passes=5, lr=0.1).search
    for z, edit in zip(find_targets(bare, 0, examples, settings, 2).z, edits, strict=True):
        expected = one_z(bare, 0, edit, ("{}",), settings)
        assert (z - expected).norm() < 1e-3 * expected.norm()


def test_a_batch_gives_what_one_by_one_gives() -> None:
    subject = testbed()
    together, alone = (search(subject, batch, layer=0, lr=0.1, clamp=1.0) for batch in (5, 1))
    assert together.steps.equal(alone.steps)
    assert len(set(together.steps.tolist())) > 1, "no edit stopped before another: the test shows too little"
    gaps = (together.z - alone.z).norm(dim=1) / alone.z.norm(dim=1)
    assert gaps.max() < 1e-4
    torch.testing.assert_close(together.loss, alone.loss, rtol=1e-3, atol=1e-4)


def test_there_is_one_step_less_than_passes() -> None:
    assert search(tiny(), 5, passes=4, stop_loss=0.0).steps.tolist() == [4 - 1] * 5
    assert Memit().passes - 1 == 24


def test_the_first_step_moves_every_coordinate_by_the_learning_rate() -> None:
    found = search(tiny(), 5, passes=2, lr=0.01)
    assert ((found.z - found.start).abs() - 0.01).abs().max() < 1e-4


def test_the_loss_falls() -> None:
    subject = testbed()
    first = search(subject, 5, EDITS[2:], passes=2, lr=1e-9, layer=0)
    last = search(subject, 5, EDITS[2:], lr=0.1, layer=0)
    assert first.loss.min() > 2
    assert last.loss.max() < 0.2 * first.loss.min()


@pytest.mark.parametrize("clamp", [0.25, 1.0])
def test_the_change_stays_in_its_ball(clamp: float) -> None:
    found = search(tiny(), 5, clamp=clamp, stop_loss=0.0)
    share = (found.z - found.start).norm(dim=1) / found.start.norm(dim=1)
    assert share.max() <= clamp * (1 + 1e-5)
    assert share.max() > clamp * 0.999, "without the clamp it would not have gone further"


def test_known_facts_take_no_step() -> None:
    found = search(tiny(), 5, stop_loss=1e3)
    assert found.steps.tolist() == [0] * 5
    assert found.z.equal(found.start)


def test_the_search_leaves_the_model_as_it_was() -> None:
    subject = tiny()
    before, flags = weights(subject), [value.requires_grad for value in subject.model.parameters()]
    search(subject, 2)
    assert differing(subject, before) == set()
    assert [value.requires_grad for value in subject.model.parameters()] == flags
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in subject.model.modules())
    assert all(value.grad is None for value in subject.model.parameters())


def test_hooks_go_when_the_model_fails() -> None:
    subject = copy.deepcopy(tiny())
    subject.model.get_output_embeddings().register_forward_pre_hook(lambda *_: 1 / 0)
    count = len(subject.model.get_output_embeddings()._forward_pre_hooks)
    with pytest.raises(ZeroDivisionError):
        search(subject, 2)
    left = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.model.modules())
    assert left == count


def byte_level() -> PreTrainedTokenizerBase:
    """Every byte its own token: a letter outside ASCII takes several, with one span."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    inner.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="!")


def words() -> PreTrainedTokenizerBase:
    """Whole words at white space, as in the simplest tokenizers."""
    known = ["[UNK]", "Zoë", "Åkessoë", "lives", "in", "Astrid", "Fenendale", "is", "a", "The", "Who", "said", "?"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


@pytest.mark.parametrize("build", [tokenizer, byte_level, words])
@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("Astrid Fenendale", "Astrid Fenendale lives in"),
        ("Astrid Fenendale", "Who is Astrid Fenendale ?"),
        ("Zoë", "Who said Zoë lives in"),
        ("Åkessoë", "Who is Åkessoë"),
    ],
)
def test_the_lookup_token_ends_the_subject(build: Any, name: str, prompt: str) -> None:
    fast = build()
    example = encode_edit(fast, EditRecord(name, prompt, "a", "b"), TEMPLATES)
    texts = [template.replace("{}", prompt) for template in TEMPLATES]
    for text, found in zip([*texts, f"{name} is a"], [*example.prompts, example.essence], strict=True):
        assert found.ids == fast(text)["input_ids"]
        end = text.index(name) + len(name)
        spans = fast(text, return_offsets_mapping=True)["offset_mapping"]
        assert spans[found.lookup][0] < end <= spans[found.lookup][1]
        later = spans[found.lookup + 1 :]
        assert all(left >= end for left, _ in later), "a later token holds a part of the subject"


def test_a_subject_that_ends_inside_a_context_is_looked_up_in_the_prompt() -> None:
    edit = EditRecord("end", "the end is", "a", "b")
    example = encode_edit(byte_level(), edit, ("{}", "The end. {}"))
    assert example.prompts[1].lookup == len("The end. the end") - 1


@pytest.mark.parametrize(("name", "times"), [("Nobody", 0), ("so", 2), ("", 0)])
def test_a_subject_that_is_not_once_in_its_prompt_is_named(name: str, times: int) -> None:
    edits = (EditRecord(name, "so and so", "a", "b"), EditRecord("on", "so on", " ", "b"))
    data = Collection(edits=edits, calibration=collection().calibration, sources={"edits": "edits.jsonl"})
    faults = list(tiny().faults(Memit(layers=(0,)), Context(data, batch_size=2)))
    assert {fault.problem for fault in faults} == {
        f"subject {name!r} occurs {times} times in the prompt 'so and so'",
        "the edit of 'so on' has an empty target_new",
    }
    assert {fault.at for fault in faults} == {"edits.jsonl"}


def test_a_slow_tokenizer_is_refused() -> None:
    slow = copy.copy(tokenizer())
    type_ = type("Slow", (type(slow),), {"is_fast": False})
    slow.__class__ = type_
    subject = loading.wrap(tiny().model, slow)
    with pytest.raises(RequestError, match="Slow does not map tokens"):
        subject.apply(Memit(layers=(0,)), Context(collection()))


def test_generated_contexts() -> None:
    subject, context = testbed(), Context(collection())
    draw = "memit contexts"
    streams = streams_used()
    found = generate_templates(subject, context.generator(draw), length=10, top_k=5)
    assert streams_used() == streams
    assert found == generate_templates(subject, context.generator(draw), length=10, top_k=5)
    assert found != generate_templates(subject, replace(context, seed=1).generator(draw), length=10, top_k=5)
    assert found[0] == "{}"
    assert len(found) == 6
    for template, start in zip(found[1:], STARTS, strict=True):
        assert template.strip().startswith(start)
        assert template.endswith(". {}")
        assert template.count("{") == template.count("}") == 1


def test_top_one_contexts_are_greedy() -> None:
    subject = testbed()
    found = generate_templates(subject, torch.Generator().manual_seed(0), length=6, top_k=1)
    inputs = subject.tokenizer("You", return_tensors="pt")
    length = inputs["input_ids"].shape[1] + 6 - len(subject.tokenizer("You", add_special_tokens=False)["input_ids"])
    out = subject.model.generate(**inputs, do_sample=False, max_length=length, eos_token_id=None)
    assert found[-1] == subject.tokenizer.decode(out[0], skip_special_tokens=True) + ". {}"
