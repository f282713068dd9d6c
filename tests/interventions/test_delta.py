"""Differences from elsewhere: exact where they can be, refused where they are of another model or no differences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import rayci
from rayci import registry
from rayci.context import Context
from rayci.data.records import Collection
from rayci.errors import InterventionError, RequestError
from rayci.interventions.training.delta import Delta
from rayci.model import loading
from rayci.model.weight_bits import same_bits
from rayci.subject import Subject
from rayci.testbed import checkpoint, collection, retrained_checkpoint
from rayci.workload import Workload
from tests.interventions.delta_folders import moved, noise, saved_difference, saved_model
from tests.interventions.small import configured
from tests.models import ARCHITECTURES, MIXTURES, differing, testbed, tiny, weights

CONTEXT = Context(Collection())


def plus(subject: Subject, folder: Path | str, scale: float = 1.0, **settings: Any) -> Subject:
    subject.apply(Delta(source=str(folder), scale=scale, **settings), CONTEXT)
    return subject


def off(subject: Subject, folder: Path) -> set[str]:
    """Names of the parameters that are not those of the folder's model, bit for bit."""
    return differing(loading.load(folder), weights(subject))


@pytest.mark.parametrize(
    ("kind", "tied"), [*((kind, False) for kind in (*ARCHITECTURES, *MIXTURES)), ("llama", True), ("mixtral", True)]
)
def test_a_checkpoint_at_scale_one_is_that_model(kind: str, tied: bool, tmp_path: Path) -> None:
    subject = tiny(kind, tied=tied)
    tuned = saved_model(moved(subject, noise(subject)), tmp_path / "tuned")
    head, embeddings = subject.model.get_output_embeddings(), subject.model.get_input_embeddings()
    before = weights(subject)
    plus(subject, tuned)
    assert not off(subject, tuned)
    assert set(subject.receipts[0].changed) == set(before) == differing(subject, before)
    assert (head.weight is embeddings.weight) == tied


@pytest.mark.parametrize("scale", [-1.0, 0.5, 1.0, 2.0])
def test_a_difference_is_added_in_fp32(scale: float, tmp_path: Path) -> None:
    subject = tiny()
    difference = noise(subject, names=["model.norm.weight", "model.layers.1.mlp.down_proj.weight"])
    before = weights(subject)
    plus(subject, saved_difference(difference, tmp_path / "d"), scale, form="difference")
    assert set(subject.receipts[0].changed) == differing(subject, before) == set(difference)
    for name, value in difference.items():
        assert subject.model.get_parameter(name).equal(before[name] + scale * value)


def test_base_plus_difference_is_the_trained_model_within_rounding(tmp_path: Path) -> None:
    start, subject = tiny(), loading.load(saved_model(tiny().model, tmp_path / "base"))
    tuned = saved_model(moved(start, noise(start, size=1.0)), tmp_path / "tuned")
    folder = rayci.write_difference(tmp_path / "base", tuned, tmp_path / "difference")
    plus(subject, folder)
    for name, value in loading.load(tuned).model.named_parameters():
        largest = torch.maximum(start.model.get_parameter(name).abs(), value.abs())
        far = (subject.model.get_parameter(name) - value).abs()
        assert bool((far <= torch.finfo(torch.float32).eps * largest).all()), name


def test_after_other_steps_the_difference_from_the_untouched_model_is_added(tmp_path: Path) -> None:
    subject = tiny()
    before, difference = weights(subject), noise(subject)
    tuned = saved_model(moved(subject, difference), tmp_path / "tuned")
    subject.remember_base()
    subject.apply(configured("magnitude"), CONTEXT)
    pruned = weights(subject)
    plus(subject, tuned)
    trained = weights(loading.load(tuned))
    for name, value in weights(subject).items():
        same = pruned[name] == before[name]
        assert value[same].equal(trained[name][same])
        assert value[~same].equal((pruned[name] + (trained[name] - before[name]))[~same])


def test_untouched_weights_are_kept_for_a_later_difference_and_missed_where_they_are_not(tmp_path: Path) -> None:
    tuned = saved_model(moved(tiny(), noise(tiny())), tmp_path / "tuned")
    composed = rayci.apply(
        tiny().model, "magnitude@0.5 > delta", settings={"delta": {"source": str(tuned)}}, recompress="never"
    )
    subject = tiny()
    subject.apply(configured("magnitude"), CONTEXT)
    with pytest.raises(RequestError, match="differs from the untouched weights, which were not kept"):
        plus(subject, tuned)
    subject = tiny()
    subject.remember_base()
    subject.apply(configured("magnitude"), CONTEXT)
    assert not differing(plus(subject, tuned), weights(composed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype: torch.dtype, tmp_path: Path) -> None:
    subject = tiny()
    difference = noise(subject)
    subject.model.to(dtype)  # type: ignore[arg-type]
    start = {name: value.detach().float() for name, value in subject.model.named_parameters()}
    plus(subject, saved_difference(difference, tmp_path / "d"), 0.7, form="difference")
    for name, value in subject.model.named_parameters():
        assert value.dtype == dtype
        assert value.equal((start[name] + 0.7 * difference[name]).to(dtype))


def test_a_written_difference_leaves_out_what_is_equal_and_names_its_base(tmp_path: Path) -> None:
    start = tiny()
    base = saved_model(start.model, tmp_path / "base")
    difference = noise(start, names=["lm_head.weight"])
    tuned = saved_model(moved(start, difference), tmp_path / "tuned")
    folder = rayci.write_difference(base, tuned, tmp_path / "difference")
    (file,) = folder.iterdir()
    assert set(load_file(file)) == {"lm_head.weight"}
    with pytest.raises(RequestError, match="is not empty"):
        rayci.write_difference(base, tuned, folder)
    with pytest.raises(RequestError, match="holds the weights of"):
        rayci.write_difference(base, base, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_another_base_is_refused_unless_it_is_said_to_be_this_one(tmp_path: Path) -> None:
    start = tiny()
    base = saved_model(start.model, tmp_path / "base")
    other = saved_model(moved(start, noise(start, seed=9)), tmp_path / "other")
    folder = rayci.write_difference(base, other, tmp_path / "difference")
    with pytest.raises(
        RequestError, match=r"was made from base \(weights [0-9a-f]{12}\), the model here is .*other"
    ) as error:
        plus(loading.load(other), folder)
    assert error.value.hint == "`base: base` where that is this model under another name"
    with pytest.raises(RequestError, match="a model object without a name"):
        plus(tiny(), folder)
    plus(loading.load(other), folder, base="base")
    again = shutil.copytree(base, tmp_path / "elsewhere")
    assert not off(plus(loading.load(again), folder), other) - differing(loading.load(other), weights(start))
    assert Delta(source=str(folder), base="base").identity() == Delta(source=str(folder)).identity()


def without_weights(folder: Path) -> Path:
    saved_model(tiny().model, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def of_a_wider_model(folder: Path) -> Path:
    return saved_model(tiny(intermediate_size=48).model, folder)


def cut(folder: Path) -> Path:
    saved_difference(noise(tiny()), folder)
    file = folder / "d.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    return folder


def junk(folder: Path) -> Path:
    folder.mkdir()
    (folder / "d.safetensors").write_bytes(b"\xff" * 64)
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def whole_numbers(folder: Path) -> Path:
    return saved_difference({"lm_head.weight": torch.ones(1152, 32, dtype=torch.int32)}, folder, rayci="difference")


def renamed(folder: Path) -> Path:
    return saved_difference({"model.layers.9.mlp.down_proj.weight": torch.ones(2)}, folder, rayci="difference")


def misshapen(folder: Path) -> Path:
    return saved_difference({"model.norm.weight": torch.ones(33)}, folder, rayci="difference")


def nothing_said(folder: Path) -> Path:
    return saved_difference(noise(tiny()), folder)


BAD: dict[Any, str] = {
    without_weights: "holds pickles alone, which may run code",
    of_a_wider_model: r"do not fit the model: 9 of another shape: .*down_proj.weight is \[32, 48\], not \[32, 64\]"
    r"(?s:.*)try: whole weights of a model of the same architecture",
    cut: "is not a whole safetensors file",
    junk: "is not a whole safetensors file",
    empty: "holds no safetensors file",
    whole_numbers: r"1 tensors are no floating point: lm_head.weight \(I32\)",
    renamed: "1 tensors that the model does not have: model.layers.9.mlp",
    misshapen: r"model.norm.weight is \[33\], not \[32\]",
    nothing_said: "nothing in .* says whether its tensors are weights or differences",
    lambda folder: folder: "no folder",
}


@pytest.mark.parametrize("method", ["delta", "dare"])
@pytest.mark.parametrize(("made", "text"), BAD.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_bad_source_is_one_error_before_a_weight_is_touched(
    made: Any, text: str, method: str, tmp_path: Path
) -> None:
    folder, field = str(made(tmp_path / "source")), "source" if method == "delta" else "sources"
    step = registry.intervention(method).configure(settings={field: folder if method == "delta" else [folder]})
    for on_meta in (False, True):
        subject = tiny()
        before = weights(subject)
        if on_meta:
            subject.model.to("meta")  # type: ignore[arg-type]
        with pytest.raises(RequestError, match=text) as error:
            subject.apply(step, CONTEXT)
        assert len(str(error.value).splitlines()) <= 4
        assert error.value.key in ((field,), ("form",))
        assert on_meta or not differing(subject, before)


def test_no_source_is_a_fault_and_no_crash() -> None:
    for method, field, way in (("delta", "source", "runs/"), ("ties", "sources", r"\["), ("dare", "sources", r"\[")):
        with pytest.raises(RequestError, match=f"(?s){method}: {field} is missing.*try: {field}: {way}"):
            tiny().apply(registry.intervention(method)(), CONTEXT)


def test_numbers_that_are_none_are_found_when_they_are_read(tmp_path: Path) -> None:
    folder = saved_difference(
        {"model.norm.weight": torch.full((32,), float("nan"))}, tmp_path / "d", rayci="difference"
    )
    with pytest.raises(InterventionError, match=r"model.norm.weight of .*d.safetensors holds NaN"):
        plus(tiny(), folder)


def test_a_tied_weight_has_one_difference(tmp_path: Path) -> None:
    names = ("lm_head.weight", "model.embed_tokens.weight")
    same = dict.fromkeys(names, torch.ones(1152, 32))
    subject = tiny(tied=True)
    before = weights(subject)
    plus(subject, saved_difference({n: v.clone() for n, v in same.items()}, tmp_path / "same", rayci="difference"))
    assert differing(subject, before) == {"model.embed_tokens.weight"}
    assert subject.model.get_parameter(names[1]).equal(before[names[1]] + 1)
    other = {names[0]: torch.ones(1152, 32), names[1]: torch.zeros(1152, 32)}
    with pytest.raises(InterventionError, match="are one weight here, and differ in the source"):
        plus(subject, saved_difference(other, tmp_path / "other", rayci="difference"))


def test_the_content_decides_the_identity_and_the_place_does_not(tmp_path: Path) -> None:
    folder = saved_difference(noise(tiny()), tmp_path / "d", rayci="difference")
    before = Delta(source=str(folder)).identity()
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    (copied / "README.md").write_text("Not read.")
    assert Delta(source=str(copied)).identity() == before
    save_file(noise(tiny(), seed=4), copied / "d.safetensors", {"rayci": "difference"})
    assert Delta(source=str(copied)).identity() != before
    assert Delta(source=str(folder), scale=2).identity() != before
    assert json.dumps(before).count(str(tmp_path)) == 0
    assert Delta(source="owner/nothing-here").effective()["source"] == "owner/nothing-here"


def test_the_testbed_is_a_base_too(tmp_path: Path) -> None:
    start = loading.load(checkpoint())
    tuned = moved(start, noise(start, names=["model.norm.weight"]))
    tuned.save_pretrained(tmp_path / "tuned")
    folder = rayci.write_difference("testbed", tmp_path / "tuned", tmp_path / "d")
    composed = rayci.apply("testbed", "delta@-1", settings={"delta": {"source": str(folder)}})
    assert differing(composed, weights(start)) == {"model.norm.weight"}


def test_the_testbeds_own_source_is_the_testbed_that_never_knew() -> None:
    known, context = {}, Context(collection())
    for scale in (0.0, 0.75, 1.0):
        subject = testbed()
        subject.apply(Delta.configure("testbed", scale), context)
        known[scale] = registry.criterion("hazard")().measure(subject, context).value
    assert not off(subject, retrained_checkpoint())
    assert known[0.0] == 1.0 and known[0.75] < 0.5 and known[1.0] < 0.3


def test_one_parameter_is_held_at_a_time(tmp_path: Path) -> None:
    subject = tiny()
    folder = saved_difference(noise(subject, names=["lm_head.weight", "model.norm.weight"]), tmp_path / "d")
    step = Delta(source=str(folder), form="difference")
    subject.model.to("meta")  # type: ignore[arg-type]
    work, largest = Workload(subject), 1152 * 32
    assert step.changes(subject) == ("model.norm.weight", "lm_head.weight")
    assert step.memory(work) == 7 * 4 * largest and step.host_memory(work) == 2 * 4 * largest
    assert float(step.operations(work)) == 12 * (largest + 32)


def test_a_checkpoint_in_half_precision_is_that_model_too(tmp_path: Path) -> None:
    subject = tiny("mixtral")
    tuned = moved(subject, noise(subject)).to(torch.bfloat16)  # type: ignore[arg-type]
    subject.model.to(torch.bfloat16)  # type: ignore[arg-type]
    plus(subject, saved_model(tuned, tmp_path / "tuned"))
    for name, value in subject.model.named_parameters():
        assert same_bits(value.detach(), tuned.get_parameter(name).detach()), name


def test_a_checkpoint_of_two_precisions_is_read_in_the_finer_one(tmp_path: Path) -> None:
    subject = tiny("mixtral")  # whose experts transformers stacks while it loads
    tuned = saved_model(moved(subject, noise(subject)), tmp_path / "tuned")
    file = tuned / "model.safetensors"
    tensors = load_file(file)
    first = min(tensors)
    save_file(tensors | {first: tensors[first].bfloat16()}, file, {"format": "pt"})
    assert not off(plus(subject, tuned), tuned)
