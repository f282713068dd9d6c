"""Any task or group of EleutherAI's lm-evaluation-harness by name, `lm_eval:arc_easy`, on the model in memory.

Formula  the task's own. Value, direction and standard error are the harness's: `metric` is the first that the
         task names unless another is asked for, also `exact_match,strict-match` as its results name it. Bootstraps
         draw 1000 times. Range and chance are known for accuracies; n is the number of items, of perplexities that
         of words or bytes.
Items    the task's samples where the value is their mean, or its exponential: accuracies, exact match, perplexities.
         Not for F1 over a whole set, BLEU and the like.
Data     the task's own, through `datasets`: fetched, or found to be missing, when the sweep is planned. They are no
         part of a spec's data, so the leak check does not see them.
Own      `include_path` names a folder of YAML files in the harness's format; a name there comes before the harness's.
         What they call by `!function` is code, and runs. Files of data stand relative to their YAML.
Speed    options of multiple-choice questions are scored on the same path as `mmlu`; everything else by the harness's
         own HFLM. Half-precision models are scored in fp32 after the logits, where HFLM stays in half precision.
Identity the harness's version, hashes of the YAML (and of the Python and local data files that it names), shots, limit.
Source   github.com/EleutherAI/lm-evaluation-harness
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from rayci.context import Context
from rayci.criteria.harness.answers import counted, result
from rayci.criteria.harness.declared import Metric, chosen, leaves
from rayci.criteria.harness.task_data import data_files, loaded
from rayci.criteria.harness.task_files import Index, digest, files, index
from rayci.criteria.harness.undisturbed import undisturbed
from rayci.criterion import Criterion, Reading
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.kinds import Direction, Scale
from rayci.settings import ForwardBatch, Speed
from rayci.storage.hub_cache import offline
from rayci.storage.user_paths import path_of
from rayci.subject import Subject
from rayci.workload import Workload

FAMILY = "lm_eval:"
ANY = "<task>"
"""Stands for the name of a task in listings."""


class _OfMetric:
    """What depends on the metric that was asked for; of a class it is that of its default settings."""

    def __init__(self, name: str, otherwise: Any) -> None:
        self.name, self.otherwise = name, otherwise

    def __get__(self, made: HarnessTask | None, owner: type[HarnessTask]) -> Any:
        if made is None and owner.task == ANY:
            return self.otherwise
        return getattr((owner() if made is None else made).declared, self.name)


class HarnessTask(Criterion):
    """Any task or group of lm-eval by name: its own metric, direction and standard error."""

    name: ClassVar[str] = FAMILY + ANY
    task: ClassVar[str] = ANY
    scale: ClassVar[Any] = _OfMetric("scale", Scale(Direction.NONE))
    item: ClassVar[Any] = _OfMetric("item", None)

    metric: str | None = None
    """The metric, or `metric,filter`, as the harness's results name it; the first that the task names by default."""
    shots: Annotated[int | None, Field(ge=0)] = None
    """Examples before each question; as many as the task says by default."""
    limit: Annotated[int | None, Field(ge=1)] = None
    """First questions of each task; all by default."""
    chat: bool = False
    """Ask in the tokenizer's chat template, examples as turns of their own."""
    include_path: Annotated[str | None, Speed()] = None
    """Folder of your own tasks in the harness's YAML format. Where it lies changes nothing, what it says does."""
    forward_tokens: Annotated[ForwardBatch, Field(ge=1)] = 32_768
    """Tokens in one forward pass over options of questions, padding included; changes speed and memory only."""
    batch_size: Annotated[ForwardBatch, Field(ge=1)] = 8
    """Texts in a batch of everything else; changes speed and memory only."""

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        for leaf in leaves(self.task, self.entries):
            self._refuse(leaf)
        assert self.declared
        return self

    def _refuse(self, leaf: dict[str, Any]) -> None:
        """What the harness would refuse, or drop without a word."""
        name = f"{FAMILY}{leaf['task']}"
        if leaf.get("unsafe_code"):
            raise RequestError(f"{name} runs code that the model writes", hint=f"leave {name} out")
        if leaf.get("doc_to_image") or leaf.get("doc_to_audio"):
            raise RequestError(f"{name} asks about pictures or sound", hint=f"leave {name} out")
        if self.shots and leaf.get("num_fewshot") == 0:
            raise RequestError(f"{name} takes no examples: its own file says 0", key=("shots",), hint="leave shots out")

    def __reduce__(self) -> tuple[Any, ...]:
        """Classes are made by name, so another process makes its own."""
        return _again, (self.task, self.model_dump())

    @cached_property
    def entries(self) -> Index:
        """The YAML of the task and of what it is made of."""
        return index(self.task, self._folder)

    @cached_property
    def declared(self) -> Metric:
        """The metric."""
        return chosen(self.task, self.entries, self.metric)

    @property
    def _folder(self) -> Path | None:
        return None if self.include_path is None else path_of(self.include_path)

    def identity(self) -> dict[str, Any]:
        """Beside the settings: the harness's version, the task's, and the content of its files."""
        stated = (leaf.get("metadata") or {} for leaf in leaves(self.task, self.entries))
        versions = sorted({str(metadata.get("version")) for metadata in stated})
        task = {"lm_eval": version("lm-eval"), "versions": versions, "metric": self.declared.key}
        return {**super().identity(), "task": task, "files": self._content}

    @cached_property
    def _content(self) -> list[tuple[str, str]]:
        return digest([*files(self.task, self.entries), *data_files(self.task, self.entries)])

    def own_data_faults(self, *, fetch: bool = True) -> list[RequestError]:
        with nullcontext() if fetch else offline():
            return list(caught(self._loaded))

    def _loaded(self) -> dict[str, Any]:
        return loaded(self.task, self._folder, tuple(self._content), self.shots)

    def operations(self, work: Workload) -> Effort:
        questions = min(self.limit or work.texts.items, work.texts.items) * len(list(leaves(self.task, self.entries)))
        return work.forward_operations(questions * self._longest(work))

    def memory(self, work: Workload) -> int:
        longest = self._longest(work)
        return max(work.forward_bytes(max(self.forward_tokens, longest)), work.reading_bytes(self.batch_size * longest))

    def _longest(self, work: Workload) -> int:
        """Tokens of a question with its examples."""
        return min((1 + (self.shots or 0)) * work.texts.choice, work.context)

    def measure(self, subject: Subject, context: Context) -> Reading:
        from rayci.criteria.harness.subject_model import SubjectModel

        made = self._loaded()
        quick = frozenset(name for name, task in made["tasks"].items() if _looks_at_likelihoods_alone(task))
        with undisturbed():
            model = SubjectModel(subject, fast=quick, batch_size=self.batch_size, forward_tokens=self.forward_tokens)
            found = counted(model, made["tasks"], self.limit, self.chat)
            own = result(self.task, self.declared, made, found)
        return Reading(own.value, own.n, own.stderr, items=own.items)


def _looks_at_likelihoods_alone(task: Any) -> bool:
    """Not at whether options are greedy, as `exact_match` and a task's own code may."""
    return (
        task.OUTPUT_TYPE == "multiple_choice"
        and not callable(task.config.process_results)
        and "exact_match" not in task.aggregation()
    )


@cache
def of_name(wanted: str) -> type[HarnessTask]:
    """The criterion of a task, one class for each name; whether there is such a task is seen with its settings."""
    if wanted == ANY:
        return HarnessTask

    class OfTask(HarnessTask):
        __doc__ = HarnessTask.__doc__
        name: ClassVar[str] = FAMILY + wanted
        task: ClassVar[str] = wanted

    return OfTask


def _again(task: str, settings: dict[str, Any]) -> HarnessTask:
    return of_name(task).model_validate(settings)
