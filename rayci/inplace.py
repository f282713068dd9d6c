"""Apply a composition to a model in place, without a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rayci import registry
from rayci.context import Context
from rayci.data.records import STANDS_IN, Collection, Document, EditRecord
from rayci.errors import DataError, RequestError
from rayci.intervention import Intervention
from rayci.kinds import Recompress
from rayci.model import loading
from rayci.model.folder import TESTBED, locate
from rayci.planning.chain import chain_of
from rayci.planning.composition import Step, parse
from rayci.subject import Subject


def apply(
    model: PreTrainedModel | str | Path,
    composition: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    preset: str | None = None,
    calibration: Tensor | None = None,
    edits: Sequence[EditRecord | Mapping[str, Any]] = (),
    forget: Sequence[str] = (),
    retain: Sequence[str] = (),
    recompress: Recompress | str = Recompress.REFIT,
    seed: int = 0,
) -> Subject:
    """Apply `composition` to a model object, a folder, a hub id or `testbed`, in place.

    `calibration` is int64 `[sequences, tokens]`; `edits` are all applied as one batch;
    `settings` maps a method to settings beside its preset (default `published`, on the
    testbed `testbed`). The testbed brings its own data where none is given.

    Raises RequestError before any weight is touched; InterventionError where a method fails.
    """
    steps = parse(composition)
    chosen = preset or ("testbed" if model == TESTBED else "published")

    def configure(step: Step) -> Intervention:
        given = {**(settings or {}).get(step.method, {}), **step.settings}
        return registry.intervention(step.method).configure(chosen, step.strength, given)

    for method in settings or {}:
        registry.intervention(method)
    links = chain_of(steps, configure, Recompress(recompress))
    subject = _subject(model, tokenizer)
    data = _collection(model, edits, forget, retain)
    context = Context(data, seed, batch_size=min(len(data.edits), 50) if not edits else len(edits), tokens=calibration)
    for link in links:
        _has_data(link.intervention, context)
        subject.check(link.intervention)
    for link in links:
        subject.apply(link.intervention, context, link.recompression)
    return subject


def _subject(model: PreTrainedModel | str | Path, tokenizer: PreTrainedTokenizerBase | None) -> Subject:
    if isinstance(model, (str, Path)):
        return loading.load(locate(str(model)))
    if tokenizer is None:
        raise RequestError("a model object needs its tokenizer", hint="rayci.apply(model, composition, tokenizer)")
    return loading.wrap(model, tokenizer)


def _collection(
    model: object, edits: Sequence[EditRecord | Mapping[str, Any]], forget: Sequence[str], retain: Sequence[str]
) -> Collection:
    if model == TESTBED and not (edits or forget or retain):
        from rayci.testbed import collection

        return collection()
    return Collection(
        edits=tuple(edit if isinstance(edit, EditRecord) else EditRecord(**edit) for edit in edits),
        forget=tuple(Document(text) for text in forget),
        retain=tuple(Document(text) for text in retain),
    )


def _has_data(intervention: Intervention, context: Context) -> None:
    for part in sorted(intervention.needs):
        given = context.tokens is not None if STANDS_IN.get(part, part) == "calibration" else False
        if not given and not context.data.part(part):
            raise DataError(f"{intervention.name} needs {part}, none was given", hint=f"rayci.apply(…, {part}=…)")
