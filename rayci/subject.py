"""The model under intervention: weights, tokenizer, and what has been done to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from rayci.context import Context, token_faults
from rayci.errors import InterventionError, RequestError, refuse
from rayci.intervention import Applied, Compressor, Intervention, Receipt
from rayci.model import modules
from rayci.model.base_weights import copied
from rayci.model.experts import Expert
from rayci.model.module_maps import ModuleMap
from rayci.model.streaming import Streaming

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rayci.model.modules import Linear


class Stored(Protocol):
    """The changed weights of a stored stage."""

    def write_into(self, places: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> None:
        """Write them into their places; `base` holds the untouched model's."""


@dataclass
class Subject:
    """A causal language model in eval mode, its tokenizer and the steps applied so far."""

    model: PreTrainedModel
    _tokenizer: PreTrainedTokenizerBase | None
    paths: ModuleMap
    applied: list[Applied] = field(default_factory=list)
    base: Mapping[str, Tensor] | None = field(default=None, repr=False)
    """The untouched parameters on the CPU, where the subject must be able to go back; not to be written."""
    streaming: Streaming | None = field(default=None, repr=False)
    """Where the blocks are kept on the CPU because they do not fit on the device."""

    def __repr__(self) -> str:
        parameters = sum(value.numel() for value in self.model.parameters())
        steps = " > ".join(map(str, self.applied)) or "nothing"
        kind = f"{type(self.model).__name__}, {parameters:,} parameters, {self.model.dtype} on {self.device}"
        return f"Subject({kind}\n  applied: {steps})"

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer; RequestError where it was not given."""
        if self._tokenizer is None:
            raise RequestError(
                "the model came without its tokenizer", hint="rayci.apply(model, composition, tokenizer)"
            )
        return self._tokenizer

    @property
    def has_tokenizer(self) -> bool:
        """Whether there is a tokenizer."""
        return self._tokenizer is not None

    @property
    def has_weights(self) -> bool:
        """Whether the weights have values; those on torch's meta device have shapes alone."""
        return self.device.type != "meta"

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the model knows."""
        return len(self.model.get_input_embeddings().get_parameter("weight"))

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

    def columns(self) -> dict[int, str]:
        """Every number of columns that weights of linears have, with the first linear that has as many."""
        widths: dict[int, str] = {}
        for name, module in self.linears():
            widths.setdefault(modules.weight(module).shape[1], name)
        return widths

    def weight_names(self, linears: Iterable[str] | None = None) -> tuple[str, ...]:
        """Names of the parameters that hold the weights of these linears (default: of all), each once."""
        wanted = None if linears is None else set(linears)
        holders = (modules.parameter_name(n, m) for n, m in self.linears() if wanted is None or n in wanted)
        return tuple(dict.fromkeys(holders))

    @property
    def routes(self) -> bool:
        """Whether a router picks experts in any block."""
        return any(isinstance(module, Expert) for _, module in self.linears())

    def parameters_of(self, names: Iterable[str]) -> dict[str, nn.Parameter]:
        """Parameters by full name."""
        wanted = set(names)
        return {name: value for name, value in self.model.named_parameters() if name in wanted}

    def matrices(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """These parameters, or copies of them, by name; weights of linears as `[out, in]`, a view, by the linear's."""
        found = {name: value.detach() for name, value in parameters.items()}
        for name, module in self.linears():
            parameter = modules.parameter_name(name, module)
            if parameter in parameters:
                found.pop(parameter, None)
                found[name] = modules.matrix(parameters[parameter].detach(), module)
        return found

    def changed(self) -> tuple[str, ...]:
        """Names of the parameters that any applied step changed, sorted."""
        return tuple(sorted({name for receipt in self.receipts for name in receipt.changed}))

    def compressors(self) -> list[tuple[Compressor, Receipt]]:
        """Applied compressors with their receipts, re-compressions included, in order."""
        steps = ((step.intervention, step.receipt) for step in self.applied)
        return [(intervention, receipt) for intervention, receipt in steps if isinstance(intervention, Compressor)]

    def remember_base(self) -> None:
        """Keep CPU copies of all parameters, so that `restore` can go back."""
        self.base = copied(self.model)

    def restore(self, *, everything: bool = False) -> None:
        """Back to the untouched model, by copying the dirty parameters (or, after a failure, all)."""
        if self.base is None:
            raise RuntimeError("restore() needs remember_base() first")
        self._copy(self.base, self.base if everything else self.changed())
        self.applied = []

    @torch.no_grad()
    def _copy(self, source: Mapping[str, Tensor], names: Iterable[str]) -> None:
        for name, value in self.parameters_of(names).items():
            value.copy_(source[name])

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Inside, the weights are those of the untouched model; afterwards they are what they were, bit for bit.

        The present ones wait on the CPU. Raises RequestError where something was changed and the untouched weights
        were not kept.
        """
        names = self.changed()
        base = self.base_of(names)
        present = {name: value.detach().to("cpu", copy=True) for name, value in self.parameters_of(names).items()}
        try:
            self._copy(base, names)
            yield
        finally:
            self._copy(present, names)

    def base_of(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Untouched weights of these parameters, on the CPU; RequestError where they were changed and not kept."""
        wanted = self.parameters_of(names)
        if self.base is None and wanted.keys() & set(self.changed()):
            raise RequestError("the untouched weights were not kept", hint="subject.remember_base() before any step")
        return {
            name: (value.detach().cpu() if self.base is None else self.base[name]) for name, value in wanted.items()
        }

    @torch.no_grad()
    def load(self, stored: Stored, applied: Iterable[Applied]) -> None:
        """Go to a stored stage: its changed weights, and back to base what else was changed; each is copied once."""
        if self.base is None:
            raise RuntimeError("load() needs remember_base() first")
        before, self.applied = set(self.changed()), list(applied)
        self._copy(self.base, before - set(self.changed()))
        parameters = dict(self.model.named_parameters())
        stored.write_into(parameters | self.matrices(parameters), self.matrices(self.base))

    def faults(self, intervention: Intervention, context: Context) -> Iterator[RequestError]:
        """Everything that keeps a step from being applied, as far as it is known before a weight is touched."""
        name, context = intervention.name, context.of(intervention)
        unfit = self.routes and intervention.no_experts
        if unfit:
            yield RequestError(
                f"{name} does not work on {self.model.config.model_type}, a mixture of experts: "
                f"{intervention.no_experts}",
                hint=f"a dense model, or leave {name} out",
            )
        if self.streaming is not None and intervention.gradients:
            yield self.streaming.refuse(name)
        texts = [part for part in sorted(intervention.needs) if not context.as_tokens(part)]
        if texts and self.has_weights and not self.has_tokenizer:
            yield RequestError(
                f"{name} reads {', '.join(texts)}, for which the model's tokenizer must be given",
                hint="rayci.apply(model, composition, tokenizer)",
            )
        yield from context.faults(name, intervention.needs)
        if context.tokens is not None and any(map(context.as_tokens, intervention.needs)):
            yield from token_faults(context.tokens, self.vocabulary)
        if not unfit:
            yield from intervention.check(self, context)

    def apply(self, intervention: Intervention, context: Context, recompression: str | None = None) -> Receipt:
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
                refuse(self.faults(intervention, context))
                with _as_found(self.model):
                    receipt = intervention.apply(self, context.of(intervention))
        for name, value in self.parameters_of(receipt.changed).items():
            if not bool(torch.isfinite(value).all()):
                raise InterventionError(f"{intervention.name} left non-finite weights in {name}")
        self.applied.append(Applied(intervention, receipt, recompression))
        return receipt

    def _last(self, intervention: Intervention) -> Receipt:
        for step in reversed(self.applied):
            if step.is_of(intervention):
                return step.receipt
        raise InterventionError(f"{intervention.name} cannot be re-projected: it was not applied before")

    @property
    def pruned(self) -> bool:
        """Whether an applied compressor left exact zeros that a quantiser should keep."""
        return any(compressor.prunes for compressor, _ in self.compressors())


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
