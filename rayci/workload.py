"""What a step or a measurement meets, as far as it is known before anything runs: shapes, data sizes, dtype.

Interventions and criteria say in these words what they will cost (`operations`, `memory`):

    operations   forward 2·P·tokens, forward and backward 6·P·tokens, P = parameters that the tokens pass
    memory       bytes on the device beyond the weights, at the moment that takes the most

Estimates, memory never below what is measured. Decoding token by token and launches are left out;
texts are as long as the settings allow, and as `Texts` says where these say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rayci.errors import RequestError
from rayci.intervention import Intervention
from rayci.model.step_memory import StepMemory, Storage

BATCH_TOKENS = 8 * 512
"""Tokens of a batch of a method that does not say how many it takes."""
PASS_OPERATIONS = 100.0
"""Operations for each weight that is sorted, compared or rounded without data."""
PASS_BYTES = 24
"""Bytes for each weight of the largest linear on such a pass: fp32 scores, sorted values and places, masks."""


@dataclass(frozen=True)
class Texts:
    """Sizes of the data, where nobody has read it; lengths in tokens."""

    edit: int = 24
    """An edit's prompt with its target."""
    target: int = 8
    """An edit's target alone."""
    rephrases: int = 10
    """Rephrases, or prompts that must not change, of one edit."""
    choice: int = 256
    """A four-choice question with its options."""
    option: int = 32
    """The longest option."""
    question: int = 48
    """An open question with its answer."""
    document: int | None = None
    """The longest forget or retain document; None: as long as the method's settings allow."""
    calibration: int = 480
    """Mean of the calibration documents: C4's."""
    evaluation: int = 300_000
    """The whole text for perplexity: that of WikiText-2's test split."""
    hazard: int = 3260
    """Number of hazardous questions: WMDP's biology and cyber parts."""
    utility: int = 14_042
    """Number of general questions: MMLU's test split."""
    items: int = 1000
    """Number of documents or questions of any other data set."""


@dataclass(frozen=True)
class Workload(StepMemory):
    """A model's sizes and those of the data."""

    edits: int = 50
    """Edits of a batch."""
    replicates: int = 1
    """Edit batches of the sweep: work on the untouched model may be done once for all of them."""
    texts: Texts = Texts()

    def cut(self, limit: int) -> int:
        """Tokens of the longest document, cut to `limit` and the model's context."""
        return min(limit, self.context, self.texts.document or self.context)

    def tokens(self, part: str) -> int:
        """Tokens of a part of the data; of `edits` those of one batch."""
        texts = self.texts
        sizes = {
            "edits": self.edits * texts.edit,
            "hazard": texts.hazard * texts.choice,
            "utility": texts.utility * texts.choice,
            "evaluation": texts.evaluation,
            "wikitext": texts.evaluation,
            "calibration": texts.items * texts.calibration,
            "covariance_text": texts.items * texts.calibration,
            "forget_questions": texts.items * texts.question,
            "retain_questions": texts.items * texts.question,
        }
        return sizes.get(part, texts.items * self.cut(self.context))

    def questions(self, part: str) -> int:
        """Multiple-choice questions of a part of the data."""
        return {"hazard": self.texts.hazard, "utility": self.texts.utility}.get(part, self.texts.items)

    def depth(self, layer: int) -> float:
        """Share of the blocks up to and with this one."""
        return min(1.0, (layer + 1) / self.blocks)

    def changed_by(self, intervention: Intervention) -> frozenset[str]:
        """Names of the parameters that a step will change, or an upper bound where its settings do not fit."""
        try:
            return frozenset(intervention.changes(self.subject))
        except RequestError:  # it will fail when it runs
            return frozenset(Intervention.changes(intervention, self.subject))

    def pass_operations(self) -> float:
        """A pass over all weights without data."""
        return PASS_OPERATIONS * self.parameters

    def forward_operations(self, tokens: float, depth: float = 1.0) -> float:
        """Tokens through this share of the model, without gradients."""
        return 2.0 * self.passed * depth * tokens

    def training_operations(self, tokens: float, depth: float = 1.0) -> float:
        """Tokens through this share of the model and back."""
        return 6.0 * self.passed * depth * tokens

    def pass_bytes(self) -> int:
        """A pass over all weights, a linear at a time."""
        return PASS_BYTES * self.largest

    def forward_bytes(self, tokens: int) -> int:
        """One block's activations without gradients."""
        return tokens * (self.element * (7 * self.hidden + 4 * self.inner) + 8 * self.hidden)

    def cache_bytes(self, tokens: int) -> int:
        """Keys and values of all blocks, each of them as wide as the hidden states."""
        return 2 * tokens * self.blocks * self.hidden * self.element

    def logit_bytes(self, tokens: int) -> int:
        """Logits and their fp32 log-probabilities."""
        return tokens * self.vocabulary * (self.element + 4 + (4 if self.element < 4 else 0))

    def reading_bytes(self, tokens: int = BATCH_TOKENS) -> int:
        """A forward pass over so many tokens at once, with the logits of all."""
        return self.forward_bytes(tokens) + self.logit_bytes(tokens)

    def training_bytes(
        self, names: Iterable[str], tokens: int = BATCH_TOKENS, beside: int = 0, storage: Storage = "float32"
    ) -> int:
        """Training of these parameters with passes of so many tokens, `beside` bytes live with their activations."""
        chosen = frozenset(names)
        passing = self.backward_bytes(tokens, self.blocks_above(chosen)) + self.scored_bytes(tokens) + beside
        return self.step_bytes(chosen, passing, storage)

    def edit_passes(self, most_tokens: int) -> tuple[int, int]:
        """Tokens of the edits that pass at a time, and those of them that are targets."""
        tokens = min(self.tokens("edits"), max(self.texts.edit, most_tokens))
        return tokens, -(-tokens * self.texts.target // self.texts.edit)
