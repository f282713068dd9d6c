"""The model under intervention: weights, tokenizer, and what has been done to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rayci.errors import InterventionError, RequestError
from rayci.intervention import Compressor, Intervention, Receipt
from rayci.model import modules
from rayci.model.experts import Expert
from rayci.model.modules import Linear, ModuleMap
from rayci.model.streaming import Streaming


@dataclass(frozen=True, slots=True)
class Applied:
    """One step that has been applied, with its receipt."""

    intervention: Intervention
    receipt: Receipt
    recompression: str | None = None
    """`refit` or `reproject` where the step is the re-compression of an earlier one."""


@dataclass
class Subject:
    """A causal language model in eval mode, its tokenizer and the steps applied so far."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    paths: ModuleMap
    applied: list[Applied] = field(default_factory=list)
    base: Mapping[str, Tensor] | None = field(default=None, repr=False)
    """CPU copies of the untouched parameters, where the subject must be able to go back."""
    streaming: Streaming | None = field(default=None, repr=False)
    """Where the blocks are kept on the CPU because they do not fit on the device."""

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts of all applied steps in order."""
        return [step.receipt for step in self.applied]

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the embeddings."""
        return next(self.model.get_input_embeddings().parameters()).device

    @property
    def context_length(self) -> int:
        """Longest input the model's positions allow, in tokens."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", 0) or getattr(config, "n_positions", 0) or 2048)

    @property
    def hidden_size(self) -> int:
        """Channels of the hidden states between two blocks."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder blocks in order."""
        return modules.blocks(self.model, self.paths)

    def block(self, index: int) -> nn.Module:
        """Block by index from 0; RequestError where the model has fewer."""
        if not 0 <= index < len(self.blocks):
            raise RequestError(f"layer {index} does not exist", allowed=f"0 to {len(self.blocks) - 1}")
        return self.blocks[index]

    def placed(self, block: nn.Module) -> AbstractContextManager[None]:
        """Inside, the block's weights are on `device`, wherever they are kept, and may be changed in place."""
        return nullcontext() if self.streaming is None else self.streaming.visit(block)

    def linears(self, *, placed: bool = False) -> Iterator[tuple[str, Linear]]:
        """(name, linear) of every linear inside the decoder blocks, in order; routed experts are one each.

        With `placed` the weights of a block are on `device` until the next block begins.
        """
        for index, block in enumerate(self.blocks):
            with self.placed(block) if placed else nullcontext():
                for path in (path for group in self.paths.groups(block) for path in group):
                    yield f"{self.paths.blocks}.{index}.{path}", modules.linear(block, path)

    def weight_names(self, linears: Iterable[str] | None = None) -> tuple[str, ...]:
        """Names of the parameters that hold the weights of these linears (default: of all), each once."""
        wanted = None if linears is None else set(linears)
        found = {modules.parameter_name(n, m): None for n, m in self.linears() if wanted is None or n in wanted}
        return tuple(found)

    @property
    def routes(self) -> bool:
        """Whether a router picks experts in any block."""
        return any(isinstance(module, Expert) for _, module in self.linears())

    def parameters_of(self, names: Iterable[str]) -> dict[str, nn.Parameter]:
        """Parameters by full name."""
        wanted = set(names)
        return {name: value for name, value in self.model.named_parameters() if name in wanted}

    def changed(self) -> tuple[str, ...]:
        """Names of the parameters that any applied step changed, sorted."""
        return tuple(sorted({name for receipt in self.receipts for name in receipt.changed}))

    def compressors(self) -> list[tuple[Compressor, Receipt]]:
        """Applied compressors with their receipts, re-compressions included, in order."""
        steps = ((step.intervention, step.receipt) for step in self.applied)
        return [(intervention, receipt) for intervention, receipt in steps if isinstance(intervention, Compressor)]

    def remember_base(self) -> None:
        """Keep CPU copies of all parameters, so that `restore` can go back."""
        self.base = {name: value.detach().cpu().clone() for name, value in self.model.named_parameters()}

    @torch.no_grad()
    def restore(self, *, everything: bool = False) -> None:
        """Back to the untouched model, by copying the dirty parameters (or, after a failure, all)."""
        if self.base is None:
            raise RuntimeError("restore() needs remember_base() first")
        for name, value in self.parameters_of(self.base if everything else self.changed()).items():
            value.copy_(self.base[name])
        self.applied = []

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], applied: Iterable[Applied]) -> None:
        """Go to a stored stage: back to base, then copy the stage's changed tensors."""
        self.restore()
        self.applied = list(applied)
        for name, value in self.parameters_of(tensors).items():
            value.copy_(tensors[name])

    def check(self, intervention: Intervention) -> None:
        """RequestError where the method does not work on a model like this one."""
        if self.routes:
            intervention.check_experts(self.model.config.model_type)
        if self.streaming is not None and intervention.gradients:
            raise self.streaming.refuse(intervention.name)

    def apply(self, intervention: Intervention, context: Any, recompression: str | None = None) -> Receipt:
        """Apply one step; checks afterwards that no changed weight is non-finite.

        Raises RequestError before any weight is touched, InterventionError where the method failed
        on this model; the weights are then those of no stage, and the caller must restore or
        discard the subject.
        """
        with nullcontext() if self.streaming is None else self.streaming.settled():
            if recompression == "reproject":
                assert isinstance(intervention, Compressor)
                receipt = intervention.reproject(self, self._last(intervention))
            else:
                self.check(intervention)
                with _as_found(self.model):
                    receipt = intervention.apply(self, context)
        for name, value in self.parameters_of(receipt.changed).items():
            if not bool(torch.isfinite(value).all()):
                raise InterventionError(f"{intervention.name} left non-finite weights in {name}")
        self.applied.append(Applied(intervention, receipt, recompression))
        return receipt

    def _last(self, intervention: Intervention) -> Receipt:
        for step in reversed(self.applied):
            if _the_same(step.intervention, intervention):
                return step.receipt
        raise InterventionError(f"{intervention.name} cannot be re-projected: it was not applied before")

    @property
    def pruned(self) -> bool:
        """Whether an applied compressor left exact zeros that a quantiser should keep."""
        return any(compressor.prunes for compressor, _ in self.compressors())


def _the_same(one: Intervention, other: Intervention) -> bool:
    """Whether two interventions do the same, be it at another speed: with smaller batches, say."""
    return one.name == other.name and one.effective() == other.effective()


@contextmanager
def _as_found(model: PreTrainedModel) -> Iterator[None]:
    """Put mode, `use_cache` and `requires_grad` flags back, whatever happens inside."""
    flags = {name: value.requires_grad for name, value in model.named_parameters()}
    cache, training = model.config.use_cache, model.training
    try:
        yield
    finally:
        model.config.use_cache = cache
        model.train(training)
        for name, value in model.named_parameters():
            value.requires_grad_(flags[name])
            value.grad = None
