"""MEMIT: write many facts at once into a few MLP projections, in closed form (arXiv 2210.07229).

    1  contexts  `{}` and five texts that the model continues from common words
    2  lookup    the last token of the subject
    3  z         min over δ of −mean log p(target) + f·KL + w·‖δ‖/‖h₀‖²; z = h₀ + δ, ‖δ‖ ≤ c·‖h₀‖
    4  C         mean of k·kᵀ over the tokens of a text
    5  update    for every layer l in order: R = (Z − current)/(layers left), A = (λC + KKᵀ)⁻¹K, W += R·Aᵀ

Settings as published for Llama-3-8B in arXiv 2407.06483, appendix B. As in the authors' code, C
is that of the model before the update, and the KL term is KL(p_δ ‖ p₀); the other direction is
a setting (`kl`). C comes from the data's `covariance_text`; where calibration text stands in for
it, or there are fewer documents than asked, the receipt says so. Deviations: all z of a batch are
searched together (equal to one by one), and only what δ can change is computed again; the search
runs in fp32 on an fp32 model, where the published run held the model in bf16, which `storage` does
for the rewritten weights alone; C is kept by stage and text, not by model name; contexts are drawn from
our own seeds; the lookup token comes from the tokenizer's offsets; a target is appended as tokens,
not decoded and tokenized again; a singular system is damped, and the receipt says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import InterventionError, RequestError, caught
from rayci.intervention import Intervention, Preset, Receipt
from rayci.interventions.editing.memit_contexts import (
    BARE,
    STARTS,
    Example,
    encode_edits,
    generate_templates,
    lost_subjects,
)
from rayci.interventions.editing.memit_covariance import CovarianceText
from rayci.interventions.editing.memit_targets import Divergence, Search, Targets, find_targets
from rayci.interventions.editing.memit_update import keys_and_outputs, update
from rayci.interventions.editing.targets import empty_targets
from rayci.interventions.trainer import projection_weights
from rayci.kinds import Kind
from rayci.model import modules
from rayci.model.step_memory import Storage
from rayci.settings import ForwardBatch
from rayci.subject import Subject
from rayci.workload import Workload

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Memit(Intervention):
    """Closed-form update of `mlp_out` weights that makes subjects recall new facts."""

    name: ClassVar[str] = "memit"
    kind: ClassVar[Kind] = Kind.EDIT
    version: ClassVar[int] = 2
    needs: ClassVar[frozenset[str]] = frozenset({"edits", "covariance_text"})
    builds: ClassVar[bool] = True
    no_experts: ClassVar[str] = (
        "it writes an edit into one projection of a layer, and here the router spreads it over several experts"
    )
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            "layers": (0,),
            "lr": 0.1,
            "clamp": 1.0,
            "stop_loss": 1e-4,
            "passes": 30,
            "covariance_weight": 16.0,
            "storage": "float32",
        }
    }

    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (4, 5, 6, 7, 8)
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
    covariance_weight: Positive = 15000.0
    """λ: how much the keys of ordinary text weigh against those of the edits."""
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
    storage: Storage = "bfloat16"
    """Precision of the rewritten weights; published: a bf16 model."""
    z_batch: ForwardBatch = Field(default=50, ge=1)
    """Edits whose z are searched in one forward pass; each takes seven short prompts."""
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

    def void_settings(self) -> Mapping[str, str]:
        void: dict[str, str] = {}
        if self.contexts is not None:
            void |= dict.fromkeys(("context_tokens", "context_top_k"), "`contexts` are given, none is generated")
        return void if self.kl_factor else {**void, "kl": "kl_factor = 0 leaves no divergence"}

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What `apply` will change; the subject's weights are not read."""
        return tuple(projection_weights(subject, self.layers))

    def built_bytes(self, work: Workload) -> int:
        """C of every layer, fp32."""
        return 4 * len(self.layers) * work.inner**2

    @property
    def _prompts(self) -> int:
        """Prompts that are run for one edit: its contexts and the essence."""
        return len(self.contexts or (BARE, *STARTS)) + 1

    def operations(self, work: Workload) -> Effort:
        """C from the blocks up to the last layer, once for all edit batches; the search in the blocks above it; A."""
        depth, layers, prompts = work.depth(self.layers[-1]), len(self.layers), work.edits * self._prompts
        documents = min(self.documents, work.count("covariance_text", self.documents))
        text = documents * min(work.texts.calibration, self.max_tokens, work.context)
        reading = work.forward_operations(text, depth, passes=documents / self.forward_batch, logits=False)
        gram = Effort(2.0 * text * layers * work.inner**2)
        keys = work.forward_operations(prompts * (work.texts.edit + self.context_tokens), layers * depth)
        passes = self.passes * -(-work.edits // self.z_batch)
        read = prompts * work.texts.edit // 2  # what follows the lookup token
        search = work.forward_operations(read * self.passes, 1 - depth, passes=passes)
        solved = Effort(fp64=layers * work.inner**2 * (work.inner / 3 + 2.0 * work.edits))
        return (reading + gram) / work.replicates + keys + 3 * search + solved

    def memory(self, work: Workload) -> int:
        """The most of the search for z, the passes for C, and the solution in float64."""
        rows = min(self.z_batch, work.edits) * self._prompts
        kept = work.cache_bytes(tokens := rows * (work.texts.edit + self.context_tokens))
        after = work.graph_bytes(rows * work.texts.edit // 2, work.blocks - self.layers[-1])
        search = kept + max(work.forward_bytes(tokens), kept + after + 80 * rows * work.vocabulary)
        text = self.forward_batch * min(self.max_tokens, work.context)
        sums = work.forward_bytes(text) + 4 * (len(self.layers) + 1) * work.inner**2 + 4 * text * work.inner
        return max(search, sums, 8 * 5 * work.inner**2)

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
        if context.has("covariance_text") and (subject.has_tokenizer or context.tokens is not None) and not missing:
            text = CovarianceText(subject, context, self.documents, self.max_tokens)
            yield from caught(text.check, self.layers)
        yield from lost_subjects(context)
        yield from empty_targets(context)

    def apply(self, subject: Subject, context: Context) -> Receipt:
        names = self.changes(subject)
        edits = context.edits
        text = CovarianceText(subject, context, self.documents, self.max_tokens)
        text.check(self.layers)
        templates = self.contexts or generate_templates(
            subject, context.generator("memit contexts"), length=self.context_tokens, top_k=self.context_top_k
        )
        examples = encode_edits(subject.tokenizer, edits, templates)
        targets = find_targets(subject, self.layers[-1], examples, self.search, self.z_batch)
        if not bool(torch.isfinite(targets.z).all() & torch.isfinite(targets.loss).all()):
            raise InterventionError("memit: the search for z left the finite numbers on this model")
        statistics = text.covariances(self.layers, self.forward_batch)
        retries = self._write(subject, examples, targets, statistics.by_layer)
        counts = {
            "edits": len(edits),
            "loss": float(targets.loss.mean()),
            "steps": float(targets.steps.double().mean()),
            "documents": statistics.documents,
            "tokens": statistics.tokens,
        }
        contexts = torch.frombuffer(bytearray("\n".join(templates).encode()), dtype=torch.uint8)
        return Receipt(names, counts, retries, {"contexts": contexts}, text.notes(statistics.documents))

    @property
    def search(self) -> Search:
        """The settings of step 3."""
        return Search(self.passes, self.lr, self.clamp, self.weight_decay, self.kl_factor, self.kl, self.stop_loss)

    @torch.no_grad()
    def _write(
        self, subject: Subject, examples: list[Example], targets: Targets, statistics: Mapping[int, Tensor]
    ) -> tuple[str, ...]:
        """Step 5; returns what had to be damped."""
        retries = []
        for done, layer in enumerate(self.layers):
            keys, current = keys_and_outputs(subject, layer, self.layers[-1], examples, self.forward_batch)
            residual = (targets.z.T - current) / (len(self.layers) - done)
            change, damping = update(statistics[layer], keys, residual, self.covariance_weight)
            if damping:
                retries.append(f"layer {layer}: singular, solved with damping {damping:g}")
            weight = modules.weight(modules.linear(subject.block(layer), subject.paths.mlp_out))
            written = weight.float() + change.float()
            weight.copy_(written.bfloat16() if self.storage == "bfloat16" else written)
        return tuple(retries)
