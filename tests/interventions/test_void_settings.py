"""A setting that another one makes void is refused where it is given, never where it is a default or a preset's."""

from __future__ import annotations

from typing import Any

import pytest

from rayci import registry
from rayci.errors import RequestError
from rayci.intervention import Intervention
from rayci.planning import spec, yaml_source
from rayci.planning.composition import parse

VOID: list[tuple[str, float | str | None, dict[str, Any], str]] = [
    ("rtn", 4, {"range": "absmax_tensor"}, "group_size"),
    ("magnitude", 0.5, {"scope": "row"}, "parity"),
    ("magnitude", "2:4", {}, "parity"),
    ("magnitude", "2:4", {}, "scope"),
    ("sparsegpt", "2:4", {}, "parity"),
    ("gptq", 4, {"group_size": -1}, "static_groups"),
    ("ft", None, {"epochs": 3}, "steps"),
    ("gptq", "fp8", {}, "static_groups"),
    ("gptq", "nf4", {}, "symmetric"),
    ("rtn", "nf4", {}, "range"),
    ("lora", None, {"variant": "lora"}, "init_r"),
    ("lora", None, {"variant": "lora"}, "tinit"),
    ("lora", None, {"variant": "lora"}, "orthogonality"),
    ("lora", None, {"init_r": 8, "target_r": 8}, "delta_t"),
    ("lora", None, {}, "retain_batch"),
    ("memit", None, {"contexts": ("{}",)}, "context_top_k"),
    ("memit", None, {"kl_factor": 0.0}, "kl"),
    ("gd", None, {}, "check_every"),
    ("npo", None, {"loss_on": "answer"}, "max_tokens"),
    ("finetune", None, {"loss_on": "answer"}, "max_tokens"),
    ("relearn", 0.5, {}, "lora_rank"),
    ("simnpo", None, {"retain": "none"}, "alpha"),
    ("undial", None, {}, "alpha"),
    ("npo", None, {}, "lora_rank"),
    ("refusal", None, {"parametrisation": "full"}, "lora_targets"),
    ("rmu", None, {}, "lora_alpha"),
]
"""Method, strength, the settings that decide, and the one that they make void."""


def made(
    method: str, strength: float | str | None, settings: dict[str, Any], preset: str = "published"
) -> Intervention:
    return registry.intervention(method).configure(preset, strength, settings)


@pytest.mark.parametrize(("method", "strength", "settings", "void"), VOID)
def test_it_is_refused_with_the_reason(
    method: str, strength: float | str | None, settings: dict[str, Any], void: str
) -> None:
    without = made(method, strength, settings)  # as a default it does no harm
    assert void in without.void_settings()
    with pytest.raises(RequestError, match=f"{method}: {void} = .* changes nothing") as error:
        made(method, strength, {**settings, void: getattr(without, void)})
    assert without.void_settings()[void] in error.value.problem


@pytest.mark.parametrize(
    ("method", "strength", "settings"),
    [
        ("rtn", 4, {"range": "absmax", "group_size": -1}),
        ("magnitude", 0.5, {"scope": "matrix", "parity": True}),
        ("sparsegpt", 0.5, {"parity": True}),
        ("gptq", 4, {"group_size": 64, "static_groups": True}),
        ("lora", None, {"tinit": 5, "retain_weight": 1.0, "retain_batch": 4}),
        ("memit", None, {"context_top_k": 3, "kl": "base_to_edited"}),
        ("gd", None, {"stop_recall": 0.2, "check_every": 2, "max_tokens": 64}),
        ("rmu", None, {"parametrisation": "lora", "lora_rank": 4, "lora_targets": "mlp"}),
        ("sure", None, {"settings": {"stop_recall": 0.2, "check_every": 2}}),
    ],
)
def test_it_is_taken_where_it_is_read(method: str, strength: float | str | None, settings: dict[str, Any]) -> None:
    assert not made(method, strength, settings).void_settings().keys() & settings.keys()


def test_a_value_of_the_preset_is_no_request() -> None:
    assert "retain_weight" in registry.intervention("lora").presets["testbed"]
    assert "init_r" in made("lora", None, {"variant": "lora"}, "testbed").void_settings()


def test_settings_of_a_wrapped_method_are_told_alike() -> None:
    with pytest.raises(RequestError, match="sure: settings: npo_klr: check_every = 5 changes nothing"):
        made("sure", None, {"settings": {"check_every": 5}})


def test_a_step_and_a_spec_are_told_alike() -> None:
    asked = parse("sparsegpt@2:4{parity=true}").steps[0]
    with pytest.raises(RequestError, match="parity = True changes nothing: pattern 2:4 takes n of each group"):
        made(asked.method, asked.strength, dict(asked.settings))
    text = "name: x\ninterventions:\n  rtn: {bits: 4, range: absmax_tensor, group_size: 64}\ncriteria: [perplexity]\n"
    with pytest.raises(RequestError, match="group_size = 64 changes nothing") as error:
        spec.from_source(yaml_source.parse(text, "x.yaml"))
    assert str(error.value.at).startswith("x.yaml:3")
