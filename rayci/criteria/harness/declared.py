"""What the YAML of a harness task says of its metric, before any of its data are read: direction, range, chance, items.

The value is `metric,filter` of the harness's results. Range and chance are stated where they follow from the
metric's own definition: accuracies are shares, chance is one over the number of options where that is fixed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayci.criteria.harness.task_files import Index
from rayci.criteria.harness.undisturbed import silent
from rayci.errors import RequestError, nearest
from rayci.kinds import Direction, Scale

_CHOICES = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info"})
"""Accuracies over the options of a question."""
_SHARES = frozenset({"exact_match", "f1"})
"""Between 0 and 1 where the harness computes them, and not a task's own code."""
_RANGES: Mapping[str, tuple[float, float | None]] = {
    "mcc": (-1.0, 1.0),
    "brier_score": (0.0, 2.0),
    "bits_per_byte": (0.0, None),
    "bleu": (0.0, 100.0),
    "chrf": (0.0, 100.0),
    "chrf++": (0.0, 100.0),
    "ter": (0.0, None),
}
_PERPLEXITIES = frozenset({"perplexity", "weighted_perplexity"})
_OF_PERPLEXITIES = "mean of perplexities"
_AVERAGED = frozenset({"mean", "bits_per_byte"}) | _PERPLEXITIES
"""Aggregations that are a mean over items, or its exponential."""
_STRUCTURE = frozenset({"group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag", "include"})
"""Keys of a group; its others are settings of the tasks below it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a task, as its YAML declares it."""

    name: str
    filter: str
    direction: Direction
    aggregation: str
    """Name in the harness's registry, `custom` for a function of the task's own."""
    own_code: bool = False
    """Whether the task's own code computes it."""
    options: int | None = None
    """Options of every question, where that is a fixed number."""
    weighted: bool = True
    """In a group: whether tasks count by their size."""
    unit: str = "question"
    """What one of its items is, in a word."""

    @property
    def key(self) -> str:
        """Its name in the harness's results."""
        return f"{self.name},{self.filter}"

    @property
    def scale(self) -> Scale:
        """Direction, range and chance level."""
        if self.aggregation in (*_PERPLEXITIES, _OF_PERPLEXITIES):
            return Scale(self.direction, 1.0, logarithmic=True)
        if self.name in _CHOICES or (self.name in _SHARES and not self.own_code):
            chance = 1 / self.options if self.options and self.name in _CHOICES else None
            return Scale(self.direction, 0.0, 1.0, chance, "share")
        low, high = (None, None) if self.own_code else _RANGES.get(self.name, (None, None))
        return Scale(self.direction, low, high)

    @property
    def item(self) -> str | None:
        """What an item is; None where the value is no mean over items."""
        return self.unit if self.aggregation in _AVERAGED else None


def chosen(task: str, index: Index, wanted: str | None) -> Metric:
    """The metric that was asked for, `acc` or `exact_match,strict-match`, or the first that the task names.

    Raises RequestError where there is none such, and for a group or tag that has no value of its own.
    """
    metrics = _of(task, index)
    if wanted is None:
        return metrics[0]
    name, _, form = wanted.partition(",")
    fitting = [metric for metric in metrics if metric.name == name and form in ("", metric.filter)]
    if not fitting:
        known = [metric.key for metric in metrics]
        hint = nearest(wanted, known)
        raise RequestError(f"{task} has no metric {wanted!r}", allowed="; ".join(known), hint=hint, key=("metric",))
    return fitting[0]


def _of(task: str, index: Index) -> list[Metric]:
    entry, below = index[task], list(leaves(task, index))
    own = [list(_of_task(leaf, index)) for leaf in below]
    if entry.kind.name not in ("GROUP", "TAG"):
        return own[0]
    listed = (entry.cfg or {}).get("aggregate_metric_list") if entry.kind.name == "GROUP" else None
    if not listed:
        names = [f"lm_eval:{leaf['task']}" for leaf in below]
        raise RequestError(f"{task} is a list of tasks without a value of its own", hint=", ".join(names))
    return [metric for one in ([listed] if isinstance(listed, dict) else listed) for metric in _joined(one, own)]


def _joined(listed: Mapping[str, Any], below: Sequence[Sequence[Metric]]) -> Iterator[Metric]:
    """A group's metric from those of its tasks: what they agree in."""
    same = [metric for own in below for metric in own if metric.name == listed["metric"]]
    named = listed.get("filter_list") or sorted({metric.filter for metric in same})
    for form in [named] if isinstance(named, str) else named:
        parts = [metric for metric in same if metric.filter == form]
        if not parts:
            continue
        directions, options = {part.direction for part in parts}, {part.options for part in parts}
        means = {part.aggregation for part in parts} == {"mean"}
        perplexities = {part.aggregation for part in parts} <= _PERPLEXITIES
        yield Metric(
            listed["metric"],
            form,
            directions.pop() if len(directions) == 1 else Direction.NONE,
            "mean" if means else _OF_PERPLEXITIES if perplexities else "custom",
            any(part.own_code for part in parts),
            options.pop() if len(options) == 1 else None,
            bool(listed.get("weight_by_size", True)),
            parts[0].unit,
        )


def leaves(task: str, index: Index, settings: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The YAML of every task that a name stands for, with what the groups above it set."""
    entry, above = index.get(task), dict(settings or {})
    if entry is None:
        yield {"task": task, **above}
    elif entry.kind.name == "TAG":
        for name in sorted(entry.tags):
            yield from leaves(name, index, above)
    elif entry.kind.name == "GROUP":
        yield from _below({**entry.cfg, **above}, index)
    else:
        yield {**entry.cfg, **above, "task": task}


def _below(group: Mapping[str, Any], index: Index) -> Iterator[dict[str, Any]]:
    settings = {key: value for key, value in group.items() if key not in _STRUCTURE}
    listed = group.get("task") or []
    for item in [listed] if isinstance(listed, str) else listed:
        if isinstance(item, str):
            yield from leaves(item, index, settings)
        elif "group" in item and item["group"] not in index:
            yield from _below({**settings, **item}, index)
        else:
            own = {key: value for key, value in item.items() if key not in ("task", "group")}
            yield from leaves(item.get("group") or item["task"], index, {**settings, **own})


def _of_task(task: Mapping[str, Any], index: Index) -> Iterator[Metric]:
    if "class" in task:
        yield from _of_class(index[task["task"]])
        return
    kind = task.get("output_type", "generate_until")
    forms = task.get("filter_list") or [{"name": "none"}]
    unit = "document" if kind == "loglikelihood_rolling" else "question"
    own, options = bool(task.get("process_results")), _options(task.get("doc_to_choice"))
    for listed in task.get("metric_list") or _usual(kind):
        name = str(listed["metric"]).rpartition("/")[2]  # `!function utils.f1` stands as a path
        name, custom = (name.rpartition(".")[2], True) if name != listed["metric"] else (name, own)
        direction, aggregation = _registered(name)
        better = listed.get("higher_is_better", direction)
        said = listed.get("aggregation", aggregation)
        for form in forms:
            yield Metric(name, form["name"], _direction(better), _aggregation(said), custom, options, unit=unit)


def _of_class(entry: Any) -> Iterator[Metric]:
    """A task that is a Python class says all this by methods, for which its data need not be there."""
    from lm_eval.tasks._yaml_loader import load_yaml

    with silent():
        cls = load_yaml(entry.yaml_path)["class"]
        bare = object.__new__(cls)
        for name, better in bare.higher_is_better().items():
            yield Metric(name, "none", _direction(better), "custom", own_code=True)


def _usual(kind: str) -> list[dict[str, str]]:
    """The metrics of an output type whose task names none."""
    from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY

    return [{"metric": name} for name in DEFAULT_METRIC_REGISTRY[kind]]


def _registered(metric: str) -> tuple[bool | None, str]:
    """Whether higher is better, and how items are put together, in the harness's registry."""
    from lm_eval.api.registry import AGGREGATION_REGISTRY, get_metric_aggregation, is_higher_better

    with silent():
        better, function = is_higher_better(metric), get_metric_aggregation(metric)
    names = [name for name, known in AGGREGATION_REGISTRY.items() if known is function]
    return better, names[0] if names else "custom"


def _direction(better: object) -> Direction:
    known = {True: Direction.HIGHER, False: Direction.LOWER}
    return known.get(better, Direction.NONE) if isinstance(better, bool) else Direction.NONE


def _aggregation(said: object) -> str:
    return said if isinstance(said, str) and "/" not in said else "custom"


def _options(choices: object) -> int | None:
    """How many options every question has; None where its record says."""
    if isinstance(choices, str):
        try:
            choices = ast.literal_eval(choices)
        except (SyntaxError, ValueError):
            return None
    return len(choices) if isinstance(choices, list | dict) else None
