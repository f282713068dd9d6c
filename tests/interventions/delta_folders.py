"""Folders as people bring them: whole weights, differences, and adapters that peft trained and saved."""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from rayci.subject import Subject
from tests.models import tiny, tokenizer

TOKENS = torch.arange(2, 34).view(2, 16)


def noise(
    subject: Subject, *, seed: int = 3, size: float = 0.01, names: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """A random difference of these parameters, by default of all, fp32."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [name for name, _ in subject.model.named_parameters()] if names is None else names
    return {name: size * torch.randn(subject.model.get_parameter(name).shape, generator=generator) for name in chosen}


@torch.no_grad()
def moved(subject: Subject, difference: Mapping[str, Tensor]) -> PreTrainedModel:
    """A copy of the model with the difference added in fp32."""
    model = copy.deepcopy(subject.model)
    for name, value in difference.items():
        parameter = model.get_parameter(name)
        parameter.copy_(parameter.float() + value)
    return model


def saved_model(model: PreTrainedModel, folder: Path) -> Path:
    """A folder that loads as a model of its own."""
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def saved_difference(difference: Mapping[str, Tensor], folder: Path, **metadata: str) -> Path:
    """A folder of differences; without metadata nothing says what it holds."""
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in difference.items()}, folder / "d.safetensors", metadata)
    return folder


def adapted(subject: Subject, **config: Any) -> PeftModel:
    """A copy of the model with an adapter that was trained for two steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made: PeftModel = get_peft_model(copy.deepcopy(subject.model), LoraConfig(task_type="CAUSAL_LM", **config))
        trained = [value for value in made.parameters() if value.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=1.0)
        for _ in range(2):
            optimizer.zero_grad()
            made(input_ids=TOKENS, labels=TOKENS).loss.backward()
            optimizer.step()
    return made.eval()


def saved_adapter(made: PeftModel, folder: Path) -> Path:
    """The adapter as peft saves it."""
    made.save_pretrained(str(folder))
    return folder


def merged(made: PeftModel) -> dict[str, Tensor]:
    """The weights that peft merges, by name."""
    model = made.merge_and_unload()
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@cache
def lasting() -> Path:
    """A folder for what suites without fixtures read, which is gone when the process ends."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def tiny_differences() -> tuple[str, str]:
    """Two differences of the tiny model."""
    made = (
        saved_difference(noise(tiny(), seed=seed), lasting() / f"tiny{seed}", rayci="difference") for seed in (3, 4)
    )
    one, other = map(str, made)
    return one, other


@cache
def tiny_checkpoint() -> str:
    """Whole weights near those of the tiny model."""
    subject = tiny()
    return str(saved_model(moved(subject, noise(subject)), lasting() / "tiny"))
