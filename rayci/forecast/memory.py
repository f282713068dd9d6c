"""How much memory of its device a trial needs, told from shapes.

    trial = weights + the most that one of its steps or criteria adds

A compressor adds the calibration text's hidden states, one block's activations for a batch, the
Hessians of a block and a few copies of its widest linear; training adds fp32 masters, gradients,
Adam's two moments and the activations of a batch; a criterion the activations and logits of a
batch. Texts are taken to be as long as the settings allow, prompts as `Texts` says.
Peaks that were measured before stand in for these formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rayci.criteria.editing import EditSuccess
from rayci.criteria.fluency import Perplexity
from rayci.criteria.generation import GENERATION_BATCH
from rayci.criterion import Criterion
from rayci.intervention import Intervention
from rayci.interventions.editing.finetuning import FineTuning
from rayci.interventions.editing.lora import LowRank
from rayci.interventions.editing.memit import Memit
from rayci.interventions.unlearning.loop_settings import ForgetRetain, LoopSettings
from rayci.interventions.unlearning.rmu import RepresentationMisdirection
from rayci.interventions.unlearning.sure import Sure
from rayci.interventions.unlearning.task_vector import TaskVector
from rayci.model import modules
from rayci.planning.chain import Link
from rayci.subject import Subject
from rayci.workload import Texts, Workload

_PROMPTS = 7
"""Prompts that MEMIT runs for one edit."""
_REPHRASES = 10
"""Rephrases, or prompts that must not change, of one edit."""
_CHOICE_BATCH = 128
"""Questions that four-choice and recall criteria score at once."""
_UNKNOWN_TOKENS = 8 * 512
"""Tokens of a batch of a method that is not known here: a plug-in's."""
_COPIES = 24
"""Bytes for each weight of the largest linear: fp32 scores, sorted values and places, masks."""


UNREAD = Texts()
"""What is assumed where the data was not read."""


@dataclass(frozen=True)
class _Sizes:
    """What the formulas need of a model."""

    hidden: int
    inner: int
    """Widest input of a linear."""
    widest: int
    """Elements of the largest group of linears with one input."""
    hessians: int
    """Elements of the Hessians of one block: in² of every group of linears with one input."""
    vocabulary: int
    blocks: int
    largest: int
    """Elements of the largest linear."""
    element: int
    """Bytes of a weight."""
    longest: int
    """Tokens of the longest text: of a document where that is known, else the model's context."""
    context: int
    texts: Texts

    @classmethod
    def of(cls, subject: Subject, texts: Texts) -> _Sizes:
        model, block = subject.model, subject.block(0)
        groups = [
            [modules.weight(modules.linear(block, path)).shape for path in group]
            for group in subject.paths.groups(block)
        ]
        return cls(
            hidden=int(model.config.get_text_config().hidden_size),
            inner=max(shape[1] for group in groups for shape in group),
            widest=max(sum(shape.numel() for shape in group) for group in groups),
            hessians=sum(group[0][1] ** 2 for group in groups),
            vocabulary=model.get_output_embeddings().weight.shape[0],
            blocks=len(subject.blocks),
            element=model.dtype.itemsize,
            largest=max(shape.numel() for group in groups for shape in group),
            context=subject.context_length,
            longest=min(texts.document or subject.context_length, subject.context_length),
            texts=texts,
        )

    def forward(self, tokens: int) -> int:
        """One block's activations without gradients."""
        return tokens * (self.element * (7 * self.hidden + 4 * self.inner) + 8 * self.hidden)

    def backward(self, tokens: int, blocks: int, *, logits: bool = True) -> int:
        """What `blocks` keep for the backward pass, and the logits with their gradients."""
        block = self.element * (12 * self.hidden + 5 * self.inner) + 8 * self.hidden
        return tokens * (blocks * block + (20 * self.vocabulary if logits else 0))

    def logits(self, tokens: int) -> int:
        """Logits and their fp32 log-probabilities."""
        return tokens * self.vocabulary * (self.element + 4 + (4 if self.element < 4 else 0))

    def training(self, trained: int, activations: int) -> int:
        """Masters, gradients, moments; then activations, or what the optimiser's step holds beside."""
        step = trained * (4 + (4 if self.element < 4 else 0))
        return trained * (4 + self.element + 8) + max(activations, step)


def estimate(links: Iterable[Link], criteria: Iterable[Criterion], subject: Subject, **given: Any) -> int:
    """Bytes that a trial needs on its device: the most over its steps and criteria, weights included.

    `subject` may be one without weights (`rayci.model.shapes`). `edits` is the size of the edit batch,
    `measured` maps method and criterion names to peaks that were measured before, weights included;
    they take the place of the formulas. The copy of the untouched model lies in host memory.
    """
    return max(needs(links, criteria, subject, **given).values())


def needs(
    links: Iterable[Link],
    criteria: Iterable[Criterion],
    subject: Subject,
    *,
    edits: int = 50,
    texts: Texts = UNREAD,
    measured: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """The same by method and criterion name; the untouched model is ``."""
    weights = sum(value.nbytes for value in subject.model.parameters())
    found = {"": weights}
    for link in links:
        name, again = link.intervention.name, link.recompression == "reproject"
        extra = 0 if again else step_bytes(link.intervention, subject, edits=edits, texts=texts)
        found[name] = max(found.get(name, 0), weights + extra)
    for criterion in criteria:
        found[criterion.name] = weights + reading_bytes(criterion, subject, edits=edits, texts=texts)
    return found | {name: peak for name, peak in (measured or {}).items() if name in found}


def step_bytes(intervention: Intervention, subject: Subject, *, edits: int = 50, texts: Texts = UNREAD) -> int:
    """Bytes that applying a step takes beside the model's weights."""
    sizes = _Sizes.of(subject, texts)
    if type(intervention).memory is not Intervention.memory:
        return intervention.memory(Workload(subject, edits=edits, texts=texts))
    if isinstance(intervention, Sure):
        chosen = _trained(intervention.inner, Workload(subject).changed_by(intervention), subject, sizes, edits)
        return max(chosen, _saliency(intervention.inner, subject, sizes))
    if isinstance(intervention, Memit):
        return _memit(intervention, sizes, edits)
    if isinstance(intervention, LowRank):
        return _lora(intervention, sizes, edits)
    return _trained(intervention, Workload(subject).changed_by(intervention), subject, sizes, edits)


def reading_bytes(criterion: Criterion, subject: Subject, *, edits: int = 50, texts: Texts = UNREAD) -> int:
    """Bytes that measuring a criterion takes beside the model's weights."""
    sizes = _Sizes.of(subject, texts)
    if isinstance(criterion, Perplexity):
        tokens = criterion.forward_batch * min(criterion.window, sizes.context)
        return sizes.forward(tokens) + sizes.logits(tokens)
    if not criterion.needs:
        return _COPIES * sizes.largest
    if criterion.per_edit_batch:
        prompts = 1 if isinstance(criterion, EditSuccess) else _REPHRASES
        rows, length = min(GENERATION_BATCH, prompts * edits), texts.edit
    elif "hazard" in criterion.needs or "utility" in criterion.needs:
        rows, length = _CHOICE_BATCH, texts.choice
    else:
        rows, length = _CHOICE_BATCH, texts.question
    cache = 2 * sizes.blocks * sizes.hidden * sizes.element
    return sizes.forward(rows * length) + rows * length * cache + sizes.logits(2 * rows)


def _trained(intervention: Intervention, names: Iterable[str], subject: Subject, sizes: _Sizes, edits: int) -> int:
    """Training of these parameters on the method's batches."""
    parameters = subject.parameters_of(names)
    trained = sum(value.numel() for value in parameters.values())
    above = sizes.blocks - _lowest(parameters, subject)
    if isinstance(intervention, RepresentationMisdirection):
        longest = max(intervention.max_tokens, intervention.retain_tokens, *intervention.topic_tokens.values())
        tokens = 2 * intervention.batch * min(longest, sizes.longest)
        activations = sizes.backward(tokens, intervention.update, logits=False)
        return sizes.training(trained, activations) + trained * sizes.element
    copies, again = 0, 0
    if isinstance(intervention, FineTuning):
        tokens = edits * sizes.texts.edit
        copies = 4 if intervention.max_change else 0
    elif isinstance(intervention, LoopSettings):
        tokens, again = _loop_tokens(intervention, sizes)
        copies = 8 if isinstance(intervention, TaskVector) else sizes.element if _compares(intervention) else 0
    else:
        tokens = _UNKNOWN_TOKENS
    activations = sizes.backward(tokens + again, above)
    if _compares(intervention):
        activations += 12 * again * sizes.vocabulary
    return sizes.training(trained, activations) + trained * copies


def _loop_tokens(settings: LoopSettings, sizes: _Sizes) -> tuple[int, int]:
    """Forget and retain tokens of a batch; both stay until the step's backward pass."""
    answers = not isinstance(settings, (ForgetRetain, TaskVector)) or getattr(settings, "loss_on", "") == "answer"
    longest = sizes.texts.question if answers else getattr(settings, "max_tokens", sizes.texts.question)
    tokens = settings.batch * min(longest, sizes.longest)
    return tokens, tokens if getattr(settings, "retain_loss", "none") != "none" else 0


def _compares(intervention: Intervention) -> bool:
    return getattr(intervention, "retain_loss", "none") == "kl"


def _lowest(parameters: Iterable[str], subject: Subject) -> int:
    """The first block that the gradients must reach; 0 where parameters outside the blocks are trained."""
    root = f"{subject.paths.blocks}."
    return min((int(n.removeprefix(root).split(".")[0]) if n.startswith(root) else 0 for n in parameters), default=0)


def _saliency(inner: Intervention, subject: Subject, sizes: _Sizes) -> int:
    """Gradients of everything that the wrapped method would train."""
    parameters = subject.parameters_of(Workload(subject).changed_by(inner))
    tokens = _loop_tokens(inner, sizes)[0] if isinstance(inner, LoopSettings) else _UNKNOWN_TOKENS
    gradients = sum(value.nbytes for value in parameters.values())
    return gradients + sizes.backward(tokens, sizes.blocks - _lowest(parameters, subject))


def _memit(settings: Memit, sizes: _Sizes, edits: int) -> int:
    """The larger of the search for z, the covariances' forward passes, and the solution in float64."""
    rows = min(settings.z_batch, edits) * _PROMPTS
    tokens, after = rows * (sizes.texts.edit + settings.context_tokens), rows * sizes.texts.edit // 2
    kept = 2 * tokens * sizes.blocks * sizes.hidden * sizes.element
    again = sizes.backward(after, sizes.blocks - settings.layers[-1], logits=False) + 80 * rows * sizes.vocabulary
    search = kept + max(sizes.forward(tokens), kept + again)
    batch = settings.forward_batch * min(settings.max_tokens, sizes.longest)
    statistics = sizes.forward(batch) + 4 * (len(settings.layers) + 1) * sizes.inner**2 + 4 * batch * sizes.inner
    return max(search, statistics, 8 * 5 * sizes.inner**2)


def _lora(settings: LowRank, sizes: _Sizes, edits: int) -> int:
    tokens = edits * sizes.texts.edit
    retain = settings.retain_batch * min(settings.max_tokens, sizes.longest) if settings.retain_weight else 0
    rank = max(settings.init_r, settings.target_r)
    adapters = 2 * sizes.blocks * rank * 2 * sizes.hidden
    activations = sizes.backward(tokens + retain, sizes.blocks) + 12 * retain * sizes.vocabulary
    return sizes.training(adapters, activations) + 8 * sizes.widest
