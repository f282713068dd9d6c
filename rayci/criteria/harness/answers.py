"""Requests of harness tasks, asked of a model, and what each item counted: the loop of `lm_eval.evaluate`.

Its own loop, because requests are rendered once for all stages of a sweep, a perplexity too large for a
number is +inf and no exception, and nothing but what a reading holds is made. Numbers equal the harness's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayci.criteria.harness.declared import Metric
from rayci.errors import MeasurementError
from rayci.item_values import Items

Counted = dict[tuple[str, str], list[Any]]
"""(metric, filter) -> what each item counted, in the order of the data."""
RESAMPLES = 1000
"""Draws of a bootstrapped standard error; the first 1000 of the harness's."""
_SEED = 1234
"""The harness's seed of few-shot examples."""


@dataclass(frozen=True, slots=True)
class Result:
    """A metric of a task or group."""

    value: float
    stderr: float | None
    n: int
    items: Items | None


def counted(model: Any, tasks: Mapping[str, Any], limit: int | None, chat: bool) -> dict[str, Counted]:
    """What each item of each task counted, for a model of the harness's interface."""
    waiting = defaultdict[str, list[Any]](list)
    for task in tasks.values():
        for request in _requests(model, task, limit, chat):
            waiting[request.request_type] += [request] * request.repeats
    for kind, requests in waiting.items():
        for request, response in zip(requests, getattr(model, kind)(requests), strict=True):
            request.resps.append(response)
    return {name: _judged(task, limit) for name, task in tasks.items()}


def _requests(model: Any, task: Any, limit: int | None, chat: bool) -> list[Any]:
    """The task's requests without responses, rendered anew only where another prompt was asked for."""
    prompts = (limit, model.subject.tokenizer if chat else None)
    if getattr(task, "prompts_rendered_for", None) != prompts:
        task.set_fewshot_seed(_SEED)
        template = model.apply_chat_template if chat else None
        task.build_all_requests(
            limit=limit, apply_chat_template=chat, fewshot_as_multiturn=True, chat_template=template
        )
        task.prompts_rendered_for = prompts
    for request in task.instances:
        request.resps, request.filtered_resps = [], {}
    return list(task.instances)


def _judged(task: Any, limit: int | None) -> Counted:
    task.apply_filters()
    of_item = defaultdict[int, list[Any]](list)
    for request in sorted(task.instances, key=lambda one: one.idx):
        of_item[request.doc_id].append(request)
    found: Counted = defaultdict(list)
    for form in task.instances[0].filtered_resps:
        for place, document in task.doc_iterator(limit=limit):
            answers = [request.filtered_resps[form] for request in of_item[place]]
            for metric, value in task.process_results(document, answers).items():
                found[metric, form].append(value)
    return found


def result(task: str, metric: Metric, made: Mapping[str, Any], found: Mapping[str, Counted]) -> Result:
    """The metric of a task or of a group; raises MeasurementError where the task did not give it, or gave NaN."""
    name = (metric.name, metric.filter)
    parts = {member: own[name] for member, own in found.items() if own.get(name)}
    if not parts:
        known = sorted({",".join(key) for own in found.values() for key in own})
        raise MeasurementError(f"{task} gave no {metric.key}, but {'; '.join(known)}")
    metrics = {
        member: _aggregated(made["tasks"][member], metric, values, max(map(len, found[member].values())))
        for member, values in parts.items()
    }
    whole = metrics[task] if task in parts else made["groups"][task].aggregate(metrics)
    value, error = float(whole[metric.key]), whole[f"{metric.name}_stderr,{metric.filter}"]
    if math.isnan(value):
        raise MeasurementError(f"{metric.key} of {task} is NaN")
    items = _items(metric, list(parts.values())) if metric.item else None
    n = sum(map(len, parts.values())) if items is None or not items.weights else round(math.fsum(items.weights))
    return Result(value, None if error == "N/A" else float(error), n, items)


def _aggregated(task: Any, metric: Metric, values: Sequence[Any], size: int) -> dict[str, Any]:
    """The metric, its standard error and the number of items, as groups of the harness read them."""
    from lm_eval.api.metrics import mean, stderr_for_metric

    put_together = task.aggregation().get(metric.name, mean)
    error = stderr_for_metric(put_together, RESAMPLES)
    try:
        value = put_together(values)
        spread = error(values) if error is not None and len(values) > 1 else "N/A"
    except OverflowError:
        value, spread = math.inf, "N/A"
    return {metric.key: value, f"{metric.name}_stderr,{metric.filter}": spread, "sample_len": size}


def _items(metric: Metric, parts: Sequence[Sequence[Any]]) -> Items:
    """Items whose mean, or its exponential, is the value: of a group those of its tasks, one after the other."""
    values = [value for own in parts for value in own]
    if metric.aggregation == "perplexity":
        return Items(tuple(-float(value) for value in values))
    if metric.aggregation != "mean":  # (log-likelihood, words or bytes) of a text
        bits = math.log(2) if metric.aggregation == "bits_per_byte" else 1.0
        texts = [(float(score), float(length)) for score, length in values if length]
        return Items(tuple(-score / length / bits for score, length in texts), tuple(length for _, length in texts))
    even = metric.weighted or len({len(own) for own in parts}) == 1
    weights = None if even else tuple(len(values) / len(parts) / len(own) for own in parts for _ in own)
    return Items(tuple(map(float, values)), weights)
