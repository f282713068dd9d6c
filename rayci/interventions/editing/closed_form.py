"""What closed-form editors share: they find keys, values and statistics of text alike, and differ in the formula.

    1  contexts  `{}` and five texts that the model continues from common words
    2  lookup    the last token of the subject
    3  z         min over δ of −mean log p(target) + f·KL + w·‖δ‖/‖h₀‖²; z = h₀ + δ, ‖δ‖ ≤ c·‖h₀‖
    4  C         mean of k·kᵀ over the tokens of a text
    5  ΔW        the formula of the method, from keys K, residuals R and C

As in the authors' code (arXiv 2210.07229), C is that of the model before the update, and the KL term is KL(p_δ ‖ p₀);
the other direction is a setting (`kl`). C comes from the data's `covariance_text`; where calibration text stands in for
it, or there are fewer documents than asked, the receipt says so. Deviations: only what δ can change is computed again;
the search runs in fp32 on an fp32 model, where the published runs held the model in bf16, which `storage` does for the
rewritten weights alone; C is kept by stage and text, not by model name; contexts are drawn from our own seeds, the same
for every closed-form editor; the lookup token comes from the tokenizer's offsets; a target is appended as tokens, not
decoded and tokenized again; a singular system is damped, and the receipt says so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import InterventionError, RequestError, caught
from rayci.intervention import Intervention, Receipt
from rayci.interventions.editing import earlier_keys
from rayci.interventions.editing.edit_contexts import (
    BARE,
    STARTS,
    Example,
    encode_edits,
    generate_templates,
    lost_subjects,
)
from rayci.interventions.editing.key_covariances import CovarianceText, TextStatistics
from rayci.interventions.editing.targets import empty_targets
from rayci.interventions.editing.value_search import Divergence, Search, Targets, find_targets
from rayci.interventions.trainer import projection_weights
from rayci.kinds import Kind
from rayci.model import modules
from rayci.model.step_memory import Storage
from rayci.settings import LATER, ForwardBatch, OfEditBatch
from rayci.subject import Subject
from rayci.workload import Workload

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Layer = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Written:
    """What one edit batch wrote."""

    targets: Targets
    statistics: TextStatistics
    retries: tuple[str, ...]
    """What had to be damped."""
    keys: Mapping[int, Tensor]
    """K `[in, edits]` of each layer, which later steps of the chain may read."""


class ClosedForm(OfEditBatch, Intervention):
    """Closed-form update of `mlp_out` weights that makes subjects recall new facts."""

    kind: ClassVar[Kind] = Kind.EDIT
    needs: ClassVar[frozenset[str]] = frozenset({"edits", "covariance_text"})
    builds: ClassVar[bool] = True
    no_experts: ClassVar[str] = (
        "it writes an edit into one projection of a layer, and here the router spreads it over several experts"
    )

    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = (4, 5, 6, 7, 8)
    """Decoder blocks whose `mlp_out` weight is rewritten, ascending, counted from 0."""
    passes: Annotated[int, Field(ge=2)] = 25
    """Forward passes of the search for z; hence at most one Adam step less."""
    lr: Positive = 0.5
    """Learning rate of Adam for δ."""
    clamp: Positive = 4.0
    """Largest ‖δ‖, in multiples of ‖h₀‖."""
    weight_decay: NotNegative = 1e-3
    """Weight of ‖δ‖/‖h₀‖² (as in the authors' code: only h₀ is squared)."""
    kl_factor: NotNegative = 0.0625
    """Weight of the divergence (nats) at the subject in `{subject} is a`."""
    kl: Divergence = "edited_to_base"
    """`edited_to_base`: KL(p_δ ‖ p₀), as in the authors' code; `base_to_edited`: KL(p₀ ‖ p_δ)."""
    stop_loss: NotNegative = 0.05
    """An edit whose loss (nats) is below this takes no further step."""
    documents: Count = 100_000
    """Most documents of the covariance text for C; all where there are fewer, which the receipt notes."""
    max_tokens: Count = 4096
    """Longer documents are cut, as is what exceeds the model's context."""
    contexts: tuple[str, ...] | None = None
    """Context templates, each with one `{}` for the prompt; `{}` alone comes first. None: generated."""
    context_tokens: Count = 10
    """Length of a generated context in tokens, its first word included."""
    context_top_k: Count = 5
    """A generated token is drawn from this many most likely ones."""
    statistics_of: Annotated[Literal["model", "untouched"], LATER] = "model"
    """Whose keys of ordinary text count: those of the model as it is now, or of the untouched model, so that edit
    batches in turn share one C, as in AlphaEdit's code."""
    storage: Storage = "bfloat16"
    """Precision of the rewritten weights; published: a bf16 model."""
    forward_batch: ForwardBatch = Field(default=16, ge=1)
    """Documents, or edits, in one forward pass without gradients."""

    @field_validator("layers")
    @classmethod
    def _ascending(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if list(layers) != sorted(set(layers)):
            raise ValueError("layers must be ascending, each once")
        return layers

    @field_validator("contexts")
    @classmethod
    def _bare_first(cls, contexts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if contexts is not None and (contexts[:1] != (BARE,) or any(text.count(BARE) != 1 for text in contexts)):
            raise ValueError("the first context must be {}, and every context must hold {} once")
        return contexts

    @abstractmethod
    def write(self, subject: Subject, examples: Sequence[Example], text: CovarianceText) -> Written:
        """Steps 3 to 5 for the edits of one batch."""

    @property
    @abstractmethod
    def edits_at_once(self) -> int:
        """Edits whose z are searched in one forward pass."""

    @property
    def reads_text(self) -> bool:
        """Whether the formula asks for `statistics`."""
        return "covariance_text" in self.needs

    def statistics(self, text: CovarianceText) -> TextStatistics:
        """What the formula reads of ordinary text, of the model as it is now: C."""
        return text.covariances(self.layers, self.forward_batch)

    def chosen_statistics(self, text: CovarianceText) -> TextStatistics:
        """The same of the model that `statistics_of` says."""
        with text.subject.untouched() if self.reads_base else nullcontext():
            return self.statistics(text)

    @property
    def reads_base(self) -> bool:
        return self.statistics_of == "untouched"

    def void_settings(self) -> Mapping[str, str]:
        void: dict[str, str] = {}
        if self.contexts is not None:
            void |= dict.fromkeys(("context_tokens", "context_top_k"), "`contexts` are given, none is generated")
        return void if self.kl_factor else {**void, "kl": "kl_factor = 0 leaves no divergence"}

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What `apply` will change; the subject's weights are not read."""
        return tuple(projection_weights(subject, self.layers))

    def kept_of_edits(self, work: Workload) -> int:
        """K of every layer, fp32."""
        return 4 * len(self.layers) * work.inner * work.edits

    def built_bytes(self, work: Workload) -> int:
        """C of every layer, fp32."""
        return 4 * len(self.layers) * work.inner**2

    @property
    def _prompts(self) -> int:
        """Prompts that are run for one edit: its contexts and the essence."""
        return len(self.contexts or (BARE, *STARTS)) + 1

    def operations(self, work: Workload) -> Effort:
        """C from the blocks up to the last layer, once for all replicates; the search in the blocks above it; ΔW."""
        depth, layers, prompts = work.depth(self.layers[-1]), len(self.layers), work.edits * self._prompts
        keys = work.forward_operations(prompts * (work.texts.edit + self.context_tokens), layers * depth)
        passes = self.passes * -(-work.edits // self.edits_at_once)
        read = prompts * work.texts.edit // 2  # what follows the lookup token
        search = work.forward_operations(read * self.passes, 1 - depth, passes=passes)
        written = keys + 3 * search + self.formula_operations(work)
        if self.batch and self.reads_base:  # the first batch has built what it reads
            return written
        makers = work.replicates if self.batch == 0 else 1  # a later batch starts from its replicate's own weights
        return self.text_operations(work) / makers + written

    def text_operations(self, work: Workload) -> Effort:
        """What `statistics` takes."""
        documents = min(self.documents, work.count("covariance_text", self.documents))
        tokens = documents * min(work.texts.calibration, self.max_tokens, work.context)
        passes, depth = documents / self.forward_batch, work.depth(self.layers[-1])
        reading = work.forward_operations(tokens, depth, passes=passes, logits=False)
        return reading + Effort(2.0 * tokens * len(self.layers) * work.inner**2)

    def formula_operations(self, work: Workload) -> Effort:
        """What ΔW of all layers takes: a system as wide as the projection's inputs, solved for every edit."""
        return Effort(fp64=len(self.layers) * work.inner**2 * (work.inner / 3 + 2.0 * work.edits))

    def memory(self, work: Workload) -> int:
        """The most of the search for z, the passes for C and for K, and the solution in float64."""
        rows = min(self.edits_at_once, work.edits) * self._prompts
        kept = work.cache_bytes(tokens := rows * (work.texts.edit + self.context_tokens))
        after = work.graph_bytes(rows * work.texts.edit // 2, work.blocks - self.layers[-1])
        search = kept + max(work.forward_bytes(tokens), kept + after + 80 * rows * work.vocabulary)
        text = self.forward_batch * min(self.max_tokens, work.context)
        sums = work.forward_bytes(text) + 4 * (len(self.layers) + 1) * work.inner**2 + 4 * text * work.inner
        asked = min(self.forward_batch, work.edits) * self._prompts * (work.texts.edit + self.context_tokens)
        return max(search, sums, work.forward_bytes(asked), 8 * 5 * work.inner**2)

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        missing = list(caught(self.changes, subject))
        yield from missing
        end = len(subject.blocks) - 1
        if self.layers[-1] == end:
            yield RequestError(
                f"layer {end} is the model's last block: later tokens read the subject through attention, and no "
                "block with attention follows, so a change there cannot reach the answer",
                allowed=f"layers 0 to {end - 1}",
            )
        if subject.has_tokenizer and not subject.tokenizer.is_fast:
            yield RequestError(
                f"{type(subject.tokenizer).__name__} does not map tokens to characters, which the lookup token needs",
                allowed="a fast tokenizer (tokenizer.json)",
            )
        readable = context.has("covariance_text") and (subject.has_tokenizer or context.tokens is not None)
        if self.reads_text and readable and not missing:
            yield from caught(self._text(subject, context).check, self.layers)
        if self.reads_base and subject.base is None and subject.changed():
            yield RequestError(
                f"{self.name}: the untouched weights were not kept",
                hint="subject.remember_base() before any step",
                key=("statistics_of",),
            )
        yield from lost_subjects(context)
        yield from empty_targets(context)

    def apply(self, subject: Subject, context: Context) -> Receipt:
        names = self.changes(subject)
        text = self._text(subject, context)
        if self.reads_text:
            text.check(self.layers)
        templates = self.contexts or generate_templates(
            subject, context.generator("memit contexts"), length=self.context_tokens, top_k=self.context_top_k
        )
        written = self.write(subject, encode_edits(subject.tokenizer, context.edits, templates), text)
        targets, statistics = written.targets, written.statistics
        counts = {
            "edits": len(context.edits),
            "loss": float(targets.loss.mean()),
            "steps": float(targets.steps.double().mean()),
            "documents": statistics.documents,
            "tokens": statistics.tokens,
        }
        contexts = torch.frombuffer(bytearray("\n".join(templates).encode()), dtype=torch.uint8)
        notes = (*(text.notes(statistics.documents) if self.reads_text else ()), *statistics.notes)
        left = {"contexts": contexts, **earlier_keys.kept(written.keys)}
        return Receipt(names, counts, written.retries, left, notes)

    def _text(self, subject: Subject, context: Context) -> CovarianceText:
        return CovarianceText(subject, context, self.documents, self.max_tokens)

    @property
    def search(self) -> Search:
        """The settings of step 3."""
        return Search(self.passes, self.lr, self.clamp, self.weight_decay, self.kl_factor, self.kl, self.stop_loss)

    def find(self, subject: Subject, examples: Sequence[Example]) -> Targets:
        """Step 3; InterventionError where the search leaves the finite numbers."""
        targets = find_targets(subject, self.layers[-1], examples, self.search, self.edits_at_once)
        if not bool(torch.isfinite(targets.z).all() & torch.isfinite(targets.loss).all()):
            raise InterventionError(f"{self.name}: the search for z left the finite numbers on this model")
        return targets

    @torch.no_grad()
    def add(self, subject: Subject, layer: int, change: Tensor) -> None:
        """W += ΔW `[out, in]` in fp32, rounded as `storage` says."""
        weight = modules.weight(modules.linear(subject.block(layer), subject.paths.mlp_out))
        written = weight.float() + change.float()
        weight.copy_(written.bfloat16() if self.storage == "bfloat16" else written)
