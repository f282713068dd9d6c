"""Blocks that stay on the CPU and visit the device: who is there when, and equal results."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rayci import registry
from rayci.context import Context
from rayci.criteria.cost import AverageBits, Sparsity
from rayci.criteria.perplexity import Perplexity
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.walk import walk
from rayci.interventions.compression.wanda import Wanda
from rayci.model import loading, modules, streaming
from rayci.model.streaming import Streaming, needed_bytes, states_device
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.small import MERGERS
from tests.interventions.test_experts import COMPRESSORS, RUN, configured
from tests.models import LAYERS, differing, testbed, tiny, tokenizer, weights

CONTEXT = Context(collection(), batch_size=4)
CPU = torch.device("cpu")
CALIBRATION: dict[str, Any] = {"sequences": 6, "length": 32, "forward_batch": 2}


def streamed(subject: Subject) -> Subject:
    """The subject with its blocks streamed; on the CPU a visit is a copy too."""
    subject.streaming = Streaming(subject.model, subject.blocks, CPU)
    return subject


def addresses(subject: Subject) -> dict[str, int]:
    return {name: value.data_ptr() for name, value in subject.model.named_parameters()}


@contextmanager
def most_resident(subject: Subject) -> Iterator[list[int]]:
    """Notes how many blocks are on the device whenever any module of any block has run."""
    assert subject.streaming is not None
    seen, found = subject.streaming, [0]
    hooks = [
        module.register_forward_hook(lambda *_: found.append(len(seen.resident)))
        for block in subject.blocks
        for module in block.modules()
        if module is not block
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "opt", "mixtral"])
def test_a_forward_pass_has_one_block_on_the_device(kind: str, tied: bool) -> None:
    resident, subject = tiny(kind, tied=tied), streamed(tiny(kind, tied=tied))
    objects, before = dict(subject.model.named_parameters()), addresses(subject)
    tokens = CONTEXT.calibration(subject.tokenizer, 2, 16)
    with torch.no_grad(), most_resident(subject) as found:
        assert subject.model(tokens).logits.equal(resident.model(tokens).logits)
    assert set(found) == {0, 1}
    assert subject.streaming is not None
    assert not subject.streaming.resident
    assert addresses(subject) == before
    assert all(value is objects[name] for name, value in subject.model.named_parameters())
    head, embeddings = subject.model.get_output_embeddings(), subject.model.get_input_embeddings()
    assert (head.weight is embeddings.weight) == tied


def test_inside_a_visit_all_weights_of_the_block_are_copies_and_changes_come_back() -> None:
    subject = streamed(tiny())
    block, before = subject.blocks[1], addresses(subject)
    name = f"{subject.paths.blocks}.1.mlp.up_proj.weight"
    with subject.placed(block), subject.placed(block):
        now = addresses(subject)
        moved = {each for each in now if now[each] != before[each]}
        assert moved == {each for each in now if each.startswith(f"{subject.paths.blocks}.1.")}
        modules.weight(modules.linear(block, "mlp.up_proj")).fill_(3.0)
    assert addresses(subject) == before
    assert bool((subject.model.get_parameter(name) == 3).all())


def test_a_pass_that_ends_early_leaves_no_block_behind() -> None:
    subject = streamed(tiny())
    tokens = CONTEXT.calibration(subject.tokenizer, 2, 16)

    def stop(*_: Any) -> None:
        raise ValueError("enough")

    before = addresses(subject)
    for register in (nn.Module.register_forward_pre_hook, nn.Module.register_forward_hook):
        handle: Any = register(subject.blocks[1], stop)
        with pytest.raises(ValueError, match="enough"):
            subject.model(tokens)
        handle.remove()
        assert addresses(subject) == before
    with torch.no_grad():
        assert subject.model(tokens).logits.equal(tiny().model(tokens).logits)


def test_a_compressor_that_fails_half_way_leaves_no_block_behind() -> None:
    subject = streamed(tiny())
    before = addresses(subject)
    modules.weight(dict(subject.linears())["model.layers.1.self_attn.v_proj"])[0, 0] = torch.nan
    with pytest.raises(InterventionError, match="not finite") as error:
        subject.apply(Wanda(sparsity=0.5, **CALIBRATION), CONTEXT)
    assert addresses(subject) == before
    del error  # its frames hold the walk, which ends only now
    assert addresses(subject) == before


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *((method, kind) for method in COMPRESSORS for kind in ("llama", "gpt2", "mixtral")),
        ("awq", "llama"),
        ("awq", "gpt2"),
    ],
)
def test_compressors_give_equal_weights(method: str, kind: str) -> None:
    resident, subject = tiny(kind), streamed(tiny(kind))
    made = configured(method)
    expected = resident.apply(made, CONTEXT)
    with most_resident(subject) as found:
        receipt = subject.apply(made, CONTEXT)
    assert max(found) <= 1
    assert not differing(subject, weights(resident))
    assert receipt.changed == expected.changed
    assert receipt.counts == expected.counts
    assert all(value.equal(expected.kept[name]) for name, value in receipt.kept.items())
    assert AverageBits().measure(subject, CONTEXT) == AverageBits().measure(resident, CONTEXT)
    assert Sparsity().measure(subject, CONTEXT) == Sparsity().measure(resident, CONTEXT)
    with torch.no_grad():
        for each in (subject, resident):
            for _, module in each.linears():
                modules.weight(module).add_(0.01)
            each.apply(made, CONTEXT, "reproject")
    assert not differing(subject, weights(resident))


def test_criteria_and_going_back_work_as_on_a_model_that_fits() -> None:
    resident, subject = testbed(), streamed(testbed())
    for each in (resident, subject):
        each.remember_base()
        each.apply(Wanda(sparsity=0.5, **CALIBRATION), CONTEXT)
    with torch.no_grad():
        assert Perplexity().measure(subject, CONTEXT) == Perplexity().measure(resident, CONTEXT)
    subject.restore()
    assert not differing(subject, weights(testbed()))


@pytest.mark.parametrize("method", [name for name in RUN if name not in COMPRESSORS])
def test_methods_with_gradients_refuse_before_anything_starts(method: str) -> None:
    subject = tiny()
    subject.streaming = Streaming(subject.model, subject.blocks, CPU, free=3 << 28)
    before = weights(subject)
    with pytest.raises(RequestError) as error:
        subject.apply(configured(method), CONTEXT)
    text = str(error.value)
    assert f"{method} trains with gradients, which needs the whole model on cpu: 1.0 GiB with the margin" in text
    assert "0.8 GiB were free" in text
    assert not differing(subject, before)


def test_every_built_in_says_whether_it_needs_gradients() -> None:
    without = {name for name in registry.interventions() if not registry.intervention(name).gradients}
    assert without == {*COMPRESSORS, "awq", *MERGERS}


def test_what_a_model_needs_is_its_weights_and_a_margin() -> None:
    model = tiny(tied=True).model
    own = sum(value.nbytes for value in model.parameters()) + sum(value.nbytes for value in model.buffers())
    assert needed_bytes(model) == own + streaming.LEAST_MARGIN
    with torch.device("meta"):
        large = nn.Linear(1 << 16, 1 << 16, bias=False)  # 16 GiB
    assert needed_bytes(large) == 20 << 30


@pytest.mark.parametrize(("size", "kind"), [(500, "cuda"), (501, "cpu")])
def test_hidden_states_stay_on_the_gpu_if_they_take_half_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, size: int, kind: str
) -> None:
    monkeypatch.setattr(streaming, "free_bytes", lambda device: 1000)
    assert states_device(torch.device("cuda"), size).type == kind
    assert states_device(CPU, 10**18) == CPU


def test_the_walk_keeps_one_set_of_states() -> None:
    subject = tiny()
    tokens = CONTEXT.calibration(subject.tokenizer, 4, 16)
    for inputs in walk(subject, tokens, 2):
        before = [weakref.ref(states) for states, _ in inputs.batches]
        inputs.advance()
        assert len(inputs.batches) == len(before) == 2
        assert not any(states() for states in before)


def saved(folder: Path) -> Path:
    subject = tiny(num_hidden_layers=2 * LAYERS)
    subject.model.save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def test_loading_can_be_told(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    assert loading.load(folder).streaming is None
    told = loading.load(folder, streamed=True)
    assert told.streaming is not None
    assert not differing(told, weights(loading.load(folder)))


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["wanda", "gptq", "awq"])
def test_on_a_gpu_states_kept_on_the_cpu_give_equal_weights(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for free in (1 << 40, 0):
        monkeypatch.setattr(streaming, "free_bytes", lambda device, free=free: free)
        subject = tiny()
        subject.model.to(torch.device("cuda"))  # type: ignore[arg-type]
        tokens = CONTEXT.calibration(subject.tokenizer, 4, 16)
        states, _ = next(walk(subject, tokens, 2)).batches[0]
        assert states.device.type == ("cuda" if free else "cpu")
        subject.apply(configured(method), CONTEXT)
        found.append({name: value.cpu() for name, value in weights(subject).items()})
    assert all(value.equal(found[1][name]) for name, value in found[0].items())


@pytest.mark.gpu
def test_on_a_gpu_the_walk_is_the_same_and_takes_less_memory(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    peaks: list[int] = []
    found: list[Any] = []
    for told in (False, True):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        subject = loading.load(folder, device="cuda", streamed=told)
        assert subject.device.type == "cuda"
        homes = {value.device.type for value in subject.blocks.parameters()}
        assert homes == {"cpu" if told else "cuda"}
        for method in (*COMPRESSORS, "awq"):
            subject.apply(configured(method), CONTEXT)
        with torch.no_grad():
            found.append(Perplexity().measure(subject, CONTEXT))
        peaks.append(torch.cuda.max_memory_allocated())
        found.append({name: value.cpu() for name, value in weights(subject).items()})
        del subject
    assert found[0] == found[2]
    assert all(value.equal(found[3][name]) for name, value in found[1].items())
    assert peaks[1] < peaks[0]
