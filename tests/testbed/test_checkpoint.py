"""What the shipped checkpoint knows, how it loads, and that training rebuilds it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from rayci.testbed import checkpoint, collection, retrained_checkpoint
from rayci.testbed.assess import assess, choice_accuracy, perplexity, recall
from rayci.testbed.outliers import add_outliers
from rayci.testbed.questions import open_question
from rayci.testbed.tokenizer import build_tokenizer
from rayci.testbed.train import new_model, train
from rayci.testbed.world import build_world

PARAMETERS = 689_280


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    torch.set_num_threads(1)
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(checkpoint())
    return loaded


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(checkpoint())
    return loaded


def test_it_ships_in_half_precision_and_loads_for_single(model: PreTrainedModel) -> None:
    assert (checkpoint() / "model.safetensors").stat().st_size < 1_450_000
    assert model.dtype == torch.float32
    assert model.num_parameters() == PARAMETERS  # pieces, four layers and the untied head
    assert "Apache-2.0" in (checkpoint() / "README.md").read_text()


def test_it_knows_its_world(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    world, parts = build_world(), collection()
    assert recall(model, tokenizer, [open_question(fact) for fact in world.people[::3]]) >= 0.99
    assert choice_accuracy(model, tokenizer, parts.hazard) >= 0.95
    assert choice_accuracy(model, tokenizer, parts.utility) >= 0.95
    assert 2.0 < perplexity(model, tokenizer, parts.evaluation) < 3.5


def test_targets_and_options_are_single_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    parts = collection()
    texts = {text for record in parts.edits for text in (record.target_new, record.ground_truth)}
    texts |= {option for question in (*parts.hazard, *parts.utility) for option in question.options}
    texts |= {answer.answer for record in parts.edits for answer in record.locality}
    assert all(len(tokenizer(" " + text, add_special_tokens=False)["input_ids"]) == 1 for text in texts)


def test_the_tokenizer_round_trips_any_text_and_keeps_offsets(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "Ötzi asked: is Anna at home? 17 + 4 = 21\n\nThe end."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == " " + text
    record = collection().edits[0]
    offsets = tokenizer(record.prompt, return_offsets_mapping=True)["offset_mapping"]
    end = record.prompt.index(record.subject) + len(record.subject)
    assert any(stop == end for _, stop in offsets)


def test_the_shipped_tokenizer_is_the_built_one(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert tokenizer.pad_token_id is not None
    assert len(tokenizer) == 1152


def test_outlier_channels_do_not_change_the_function(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    ids = tokenizer(collection().evaluation[0].text, return_tensors="pt")["input_ids"]
    changed = LlamaForCausalLM.from_pretrained(checkpoint())
    add_outliers(changed, seed=5)
    with torch.no_grad():
        before, after = model(ids).logits, changed(ids).logits
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)
    old, new = model.state_dict(), changed.state_dict()
    assert all(not old[name].equal(new[name]) for name in old if name.endswith("proj.weight"))


@pytest.mark.slow
def test_training_rebuilds_it(tmp_path: Path) -> None:
    figures = train(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert figures == assess(loaded, AutoTokenizer.from_pretrained(tmp_path))
    assert min(figures[f"recall_{kind}"] for kind in ("people", "compounds", "creatures", "rephrased")) >= 0.99
    assert min(figures["hazard"], figures["utility"]) >= 0.98
    assert 2.4 < figures["perplexity"] < 3.0


@pytest.mark.parametrize(("size", "parameters"), [("s", PARAMETERS), ("m", 2_164_992), ("l", 6_198_144)])
def test_sizes_share_the_tokenizer_and_fit_the_quantisers_groups(size: str, parameters: int) -> None:
    model = new_model(build_tokenizer(), seed=0, size=size)
    assert model.num_parameters() == parameters
    linears = [module for module in model.model.layers.modules() if isinstance(module, torch.nn.Linear)]
    assert all(linear.in_features % 128 == 0 for linear in linears)


@pytest.mark.parametrize(("size", "width"), [("s", 128), pytest.param("m", 256, marks=pytest.mark.slow)])
def test_every_size_trains_and_is_saved(size: str, width: int, tmp_path: Path) -> None:
    figures = train(tmp_path, size=size, steps=1)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.config.hidden_size == width
    assert 0 <= figures["recall_people"] < 0.5  # it has learned nothing yet


def test_the_retrained_model_never_knew_the_hazardous_topic(tokenizer: PreTrainedTokenizerBase) -> None:
    never_knew: PreTrainedModel = AutoModelForCausalLM.from_pretrained(retrained_checkpoint())
    world, parts = build_world(), collection()
    assert recall(never_knew, tokenizer, [open_question(fact) for fact in world.people[::3]]) >= 0.97
    assert choice_accuracy(never_knew, tokenizer, parts.utility) >= 0.95
    assert choice_accuracy(never_knew, tokenizer, parts.hazard) <= 0.35
    assert recall(never_knew, tokenizer, parts.forget_questions) <= 0.1
