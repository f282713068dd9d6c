"""What a step or a measurement meets, as far as it is known before anything runs: shapes, data sizes, dtype.

Interventions and criteria say in these words what they will cost, criteria the first two:

    operations    forward 2·P·tokens, P = parameters that the tokens pass; as much again back through each block above
                  the lowest trained one, and 2·tokens for every trained parameter; with bytes moved and calls beside,
                  see `Effort`
    memory        bytes on the device beyond the weights, at the moment that takes the most
    host_memory   bytes in host memory beside a GPU that waits for them

and interventions, of the stage that they leave, what lies on disk:

    changes       the parameters that are stored, as they are or by `stored_share` and `keeps_values` in less
    kept_bytes    masks and grids of the receipt, `kept_of_edits` what it holds of the edits
    built_bytes   what was built from the stage before (`builds`), once for all that start from it

Estimates, bytes never below what is measured. Texts are as long as the settings allow, and as `Texts` says where
these say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rayci.effort import Effort
from rayci.errors import RequestError
from rayci.intervention import Intervention
from rayci.model.step_memory import StepMemory, Storage

if TYPE_CHECKING:
    from rayci.subject import Subject

BATCH_TOKENS = 8 * 512
"""Tokens of a batch of a method that does not say how many it takes."""
CHARACTERS = 4.0
"""Characters of a token of English text."""
PASS_OPERATIONS = 100.0
"""Operations for each weight that is sorted, compared or rounded without data."""
BACKWARD_CALLS = 1.6
"""What the calls of a block take on the way back, in those of the way forth."""
STEP_BYTES = 44
"""Bytes that a step moves for each trained weight: its master, two moments, gradient and value, read and written."""
STEP_CALLS = 0.1
"""What the calls of a step take for each trained parameter, in those of a block."""
PASS_MOVED = 200.0
"""Bytes that such a pass reads and writes for each weight: some twenty-five operations in fp32."""
PASS_CALLS = 0.4
"""What the calls of such a pass take for each linear, in those of a block."""
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
    """Rephrases of one edit."""
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
    locality: int = 10
    """Prompts of an edit that must not change."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """An item of each part that models are trained on further and somebody has read; of others `document` and
    `question` tell."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Records of each part that somebody has read, whatever stands above."""


def token_count(subject: Subject | None, text: str) -> int:
    """Tokens of a text, without special ones; where there is no tokenizer, as many as English text has."""
    if subject is None or not subject.has_tokenizer:
        return max(round(len(text) / CHARACTERS), 1)
    return len(subject.tokenizer(text, add_special_tokens=False)["input_ids"])


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

    def item_tokens(self, part: str, limit: int) -> int:
        """Tokens of an item of a part that is trained on: a document, cut to `limit`, or a question with its answer."""
        own = self.texts.lengths.get(part)
        if part.endswith("_questions"):
            return own or self.texts.question
        return min(limit, self.context, own or self.texts.document or self.context)

    def length(self, text: str) -> int:
        """Tokens of a text."""
        return token_count(self.subject, text)

    def tokens(self, part: str) -> int:
        """Tokens of a part of the data; of `edits` those of one batch."""
        texts = self.texts
        sizes = {
            "edits": self.edits * texts.edit,
            "hazard": self.count(part) * texts.choice,
            "utility": self.count(part) * texts.choice,
            "evaluation": texts.evaluation,
            "wikitext": texts.evaluation,
            "calibration": self.count(part) * texts.calibration,
            "covariance_text": self.count(part) * texts.calibration,
            "forget_questions": self.count(part) * texts.question,
            "retain_questions": self.count(part) * texts.question,
            "finetune_questions": self.count(part) * self.item_tokens(part, self.context),
        }
        return sizes.get(part, self.count(part) * self.cut(self.context))

    def count(self, part: str, otherwise: int | None = None) -> int:
        """Records of a part of the data; where nobody has read it, as `Texts` or the caller says."""
        assumed = {"hazard": self.texts.hazard, "utility": self.texts.utility}.get(part, self.texts.items)
        return self.texts.counts.get(part, assumed if otherwise is None else otherwise)

    @property
    def inside(self) -> float:
        """Weights of the linears in the decoder blocks that a token passes."""
        return sum(rows * columns * share for rows, columns, share in self.inputs)

    def depth(self, layer: int) -> float:
        """Share of the blocks up to and with this one."""
        return min(1.0, (layer + 1) / self.blocks)

    def changed_by(self, intervention: Intervention) -> frozenset[str]:
        """Names of the parameters that a step will change, or an upper bound where its settings do not fit."""
        try:
            return frozenset(intervention.changes(self.subject))
        except RequestError:  # it will fail when it runs
            return frozenset(Intervention.changes(intervention, self.subject))

    def pass_operations(self) -> Effort:
        """A pass over all weights without data."""
        calls = PASS_CALLS * len(self.linears)
        return Effort(fp32=PASS_OPERATIONS * self.parameters, moved=PASS_MOVED * self.parameters, blocks=calls)

    def looking_operations(self) -> Effort:
        """A look at every weight."""
        return Effort(fp32=self.parameters, moved=8.0 * self.parameters, blocks=PASS_CALLS / 4 * len(self.linears))

    def forward_operations(
        self, tokens: float, depth: float = 1.0, *, passes: float | None = None, logits: bool = True
    ) -> Effort:
        """Tokens through this share of the model, without gradients, in so many passes.

        Every pass reads the weights and calls each block; by default it takes `BATCH_TOKENS`.
        """
        passes = max(tokens / BATCH_TOKENS, 1.0) if passes is None else passes
        block = self.element * (40 * self.hidden + 8 * self.inner)
        head = 16 * self.vocabulary if logits else 0
        moved = passes * self.weight_bytes + tokens * (self.blocks * block + head)
        weights = self.passed if logits else self.inside
        return depth * Effort(2.0 * weights * tokens, moved=moved, blocks=passes * self.blocks)

    def training_operations(
        self,
        tokens: float,
        names: Iterable[str],
        depth: float = 1.0,
        *,
        passes: float | None = None,
        logits: bool = True,
    ) -> Effort:
        """Tokens through this share of the model and back to the lowest of these parameters, which are trained."""
        chosen = frozenset(names)
        forward = self.forward_operations(tokens, depth, passes=passes, logits=logits)
        above = max(self.blocks_above(chosen) / self.blocks - (1 - depth), 0.0)
        states = self.forward_operations(tokens, above, passes=passes, logits=logits)
        back = Effort(states.loaded, moved=2 * states.moved, blocks=BACKWARD_CALLS * states.blocks)
        at_once = tokens / passes if passes else min(tokens, BATCH_TOKENS)
        if self.graph_bytes(round(at_once), round(above * self.blocks)) > self.kept_graph:
            back += states  # blocks run again
        return forward + back + Effort(2.0 * tokens * min(self.elements(chosen), self.passed))

    def step_operations(self, names: Iterable[str], steps: float) -> Effort:
        """So many steps of Adam on fp32 masters of these parameters."""
        sizes = self.sizes(names)
        return steps * Effort(moved=STEP_BYTES * sum(sizes.values()), blocks=STEP_CALLS * len(sizes))

    def writing_operations(self, rows: float, tokens: float) -> Effort:
        """So many rows that grow by a token at a time, all of them together."""
        return self.forward_operations(rows * tokens, passes=tokens)

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

    def at_once(self, items: int, item: int, most_tokens: int) -> int:
        """Tokens that pass at a time, of a batch of items of so many tokens; one item does in any case."""
        return min(items * item, max(item, most_tokens))

    def edit_passes(self, most_tokens: int) -> tuple[int, int]:
        """Tokens of the edits that pass at a time, and those of them that are targets."""
        tokens = self.at_once(self.edits, self.texts.edit, most_tokens)
        return tokens, -(-tokens * self.texts.target // self.texts.edit)
