"""SURE: which modules are chosen, that all others stay bit for bit, and that it wraps every training method."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci import registry
from rayci.context import Context
from rayci.errors import DataError, RequestError
from rayci.interventions.batches import choose
from rayci.interventions.unlearning.gradient import GradientAscent
from rayci.interventions.unlearning.sure import Sure, saliency, salient, trained_modules
from rayci.testbed import collection
from tests.interventions.losses import text_loss
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(collection())
GA: dict[str, Any] = {"last_layers": 2, "samples": 6, "batch": 2, "accumulation": 1, "max_tokens": 24}
CHOSEN = ("simnpo", "wga", "satimp")
INNER: dict[str, dict[str, Any]] = {
    "ga": GA,
    "gd": GA,
    **{name: {key: GA[key] for key in GA} for name in ("ga_klr", "npo", "npo_gdr", "npo_klr", *CHOSEN)},
    "undial": {**GA, "parametrisation": "full"},
    "rmu": {"layer": 2, "batch": 2, "max_batches": 3, "max_tokens": 24},
    "rmu_lat": {"layer": 2, "batch": 2, "max_batches": 2, "latent_layers": (0,), "inner_steps": 2},
    "refusal": {"last_layers": 2, "samples": 6},
    "task_vector": {"last_layers": 2, "samples": 6, "epochs": 1},
}


def sure(method: str, **given: Any) -> Sure:
    inner = {**INNER[method], **({"epochs": 1} if "npo" in method or method in ("ga_klr", "undial", *CHOSEN) else {})}
    return Sure(**{"method": method, "settings": inner, "percentile": 60, "lr": 1e-3, **given})


@pytest.mark.parametrize(
    ("percentile", "names"), [(0, "abcde"), (50, "cde"), (75, "de"), (76, "e"), (90, "e"), (100, "e")]
)
def test_selection_by_hand(percentile: float, names: str) -> None:
    scores = dict(zip("abcde", (1.0, 2.0, 3.0, 4.0, 10.0), strict=True))
    assert salient(scores, percentile) == list(names)


def test_modules_that_the_loss_does_not_reach_are_never_chosen() -> None:
    assert salient({"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0}, 50) == ["d"]


def test_saliency_is_the_norm_of_the_mean_forget_gradient() -> None:
    subject, reference = testbed(), testbed()
    made = GradientAscent(**GA)
    training = made.prepare(subject, CONTEXT)
    modules = trained_modules(subject, training)
    assert len(modules) == 14
    assert all(names == [f"{module}.weight"] for module, names in modules.items())
    found = saliency(subject, training, modules)
    texts = [document.text for document in choose(CONTEXT, "forget", 6)[0]]
    loss = torch.stack([text_loss(reference, texts[i : i + 2], 24) for i in (0, 2, 4)]).mean()
    parameters = [reference.model.get_parameter(f"{module}.weight") for module in modules]
    expected = [gradient.norm().item() for gradient in torch.autograd.grad(loss, parameters)]
    assert list(found.values()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", INNER)
def test_chosen_modules_change_and_all_others_stay_bit_for_bit(method: str) -> None:
    subject, probe = testbed(), testbed()
    made = sure(method, storage="bfloat16")
    training = made.inner.prepare(probe, CONTEXT)
    modules = trained_modules(probe, training)
    chosen = salient(saliency(probe, training, modules), 60)
    assert 0 < len(chosen) < len(modules)
    before = weights(subject)
    receipt = subject.apply(made, CONTEXT)
    assert differing(subject, before) == set(receipt.changed) == {f"{module}.weight" for module in chosen}
    assert receipt.counts["modules"] == len(chosen)
    for value in subject.parameters_of(receipt.changed).values():
        assert value.detach().equal(value.detach().bfloat16().float())


def test_a_module_takes_its_bias_along() -> None:
    subject = tiny("qwen2")
    before = weights(subject)
    receipt = subject.apply(sure("ga", percentile=0), CONTEXT)
    assert differing(subject, before) == set(receipt.changed)
    last = "model.layers.2.self_attn."
    assert {f"{last}q_proj.weight", f"{last}q_proj.bias", f"{last}o_proj.weight"} <= set(receipt.changed)
    assert not any("norm" in name for name in receipt.changed)


def test_at_percentile_0_it_is_the_wrapped_method_on_the_linears() -> None:
    subject, plain = testbed(), testbed()
    subject.apply(sure("rmu", percentile=0), CONTEXT)
    plain.apply(registry.intervention("rmu").configure(settings={**INNER["rmu"], "lr": 1e-3}), CONTEXT)
    assert differing(subject, weights(plain)) == set()


def test_the_wrapped_methods_settings_are_in_force_and_in_the_fingerprint() -> None:
    plain, other = sure("npo_klr"), sure("npo_klr", settings={**sure("npo_klr").settings, "beta": 0.5})
    assert plain.effective() != other.effective()
    assert plain.settings["beta"] == 0.1
    assert plain.inner.lr == plain.lr
    assert plain.needs == {"forget", "retain"}
    assert sure("ga").needs == {"forget"}
    assert sure("refusal").needs == {"forget_questions"}
    assert Sure(method="ga", settings={"stop_recall": 0.5}).needs == {"forget", "forget_questions"}
    assert Sure.model_validate_json(plain.model_dump_json()) == plain


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"method": "wanda"}, "cannot wrap wanda"),
        ({"method": "sure"}, "cannot wrap sure"),
        ({"method": "npo_kl"}, "no intervention 'npo_kl'"),
        ({"method": "npo", "settings": {"betta": 1}}, "sure: settings: npo has no setting 'betta'"),
        ({"method": "ga", "settings": {"alpha": 1.0}}, "ga has no setting 'alpha'"),
        ({"method": "npo", "settings": {"beta": -1}}, "beta"),
        ({"method": "npo", "settings": {"lr": 1.0}}, "lr of npo is sure's own setting"),
        ({"percentile": 101}, "percentile"),
        ({"settings": 3}, "settings"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        Sure.configure("published", None, given)


def test_bad_requests_touch_no_weight() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match="layer"):
        subject.apply(Sure(method="ga", settings={"last_layers": 4}), CONTEXT)
    with pytest.raises(DataError, match="forget"):
        subject.apply(sure("ga"), Context(type(CONTEXT.data)()))
    assert differing(subject, before) == set()


def test_published_weights_and_percentiles() -> None:
    found = {
        preset: [
            (made.settings["alpha"], made.percentile, made.lr, made.storage, made.settings["epochs"])
            for made in (Sure.configure(preset, None, {"method": m}) for m in ("gd", "ga_klr", "npo_gdr", "npo_klr"))
        ]
        for preset in ("muse_books", "muse_news")
    }
    large, bf16 = 1e-4, "bfloat16"
    assert found["muse_books"] == [
        (400, 99, large, bf16, 5),
        (20, 90, large, bf16, 5),
        (300, 99, large, bf16, 5),
        (20, 90, large, bf16, 5),
    ]
    assert found["muse_news"] == [
        (50, 95, large, bf16, 10),
        (10, 90, large, bf16, 10),
        (50, 95, large, bf16, 10),
        (10, 90, large, bf16, 10),
    ]
    assert Sure.configure("muse_news", 99, {"settings": {"alpha": 3.0}}).settings["alpha"] == 3.0
    assert Sure.configure("muse_news", 99).percentile == 99
    assert Sure.configure("published", None, {"method": "gd"}).percentile == 95


@pytest.mark.parametrize("preset", ["published", "muse_news", "muse_books", "testbed"])
@pytest.mark.parametrize("method", ["ga", "gd", "ga_klr", "npo", "npo_gdr", "npo_klr"])
def test_all_settings_of_the_wrapped_method_come_from_one_source(preset: str, method: str) -> None:
    made = Sure.configure(preset, None, {"method": method})
    source = {"published": "muse_news"}.get(preset, preset)
    inner = registry.intervention(method).configure(source)
    alone = inner.model_dump(mode="json")
    tuned = {"alpha"} if preset != "testbed" else set()
    differing = {key for key, value in made.settings.items() if alone[key] != value}
    assert differing <= tuned
    assert alone.keys() - made.settings.keys() == {"lr", "storage", "micro_tokens"} | inner.unmentioned()


def test_published_is_news_also_without_a_preset() -> None:
    assert Sure() == Sure.configure("published") == Sure.configure("muse_news")
    assert (Sure().storage, Sure(method="gd").settings["epochs"], Sure(method="gd").settings["alpha"]) == (
        "bfloat16",
        10,
        50,
    )
    assert Sure(method="rmu").settings["max_batches"] == 250  # not on MUSE: its own


def test_the_reference_is_computed_once() -> None:
    subject = testbed()
    passes: list[None] = []
    subject.model.register_forward_hook(lambda *_: passes.append(None))
    subject.apply(sure("npo"), CONTEXT)
    assert len(passes) == 9  # 3 batches: the reference, the saliency, the training


def test_equal_seeds_give_equal_bits() -> None:
    first, again = testbed(), testbed()
    first.apply(sure("npo_klr"), CONTEXT)
    again.apply(sure("npo_klr"), CONTEXT)
    assert differing(first, weights(again)) == set()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_on_the_testbed_hazard_falls_and_utility_stays(seed: int) -> None:
    subject, context = testbed(), Context(CONTEXT.data, seed=seed)
    subject.apply(Sure.configure("testbed"), context)
    hazard, utility = (registry.criterion(name)().measure(subject, context).value for name in ("hazard", "utility"))
    assert hazard <= 0.6
    assert utility >= 0.9
