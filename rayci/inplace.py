"""Apply a composition to a model in place, without a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rayci import registry
from rayci.context import Context
from rayci.data.records import Collection, Document, EditRecord
from rayci.errors import DataError, RequestError, gathered, refuse
from rayci.intervention import Intervention
from rayci.kinds import Recompress
from rayci.model import loading
from rayci.model.folder import TESTBED, locate
from rayci.planning.chain import Link, chain_of
from rayci.planning.composition import Step, parse
from rayci.subject import Subject

_DTYPES = ("float32", "bfloat16", "float16")


def apply(
    model: PreTrainedModel | str | Path,
    composition: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    preset: str | None = None,
    calibration: Tensor | None = None,
    edits: Sequence[EditRecord | Mapping[str, Any]] = (),
    edit_batch: int | None = None,
    forget: Sequence[str] = (),
    retain: Sequence[str] = (),
    recompress: Recompress | str = Recompress.REFIT,
    seed: int = 0,
    dtype: str | None = None,
) -> Subject:
    """Apply `composition` to a model object, a folder, a hub id or `testbed`, in place.

    `calibration` is int64 `[sequences, tokens]`, all of it used; a model object needs its `tokenizer`
    where a method reads text, and keeps its dtype; others load in `dtype`, by default float32. `edits`
    are all applied as one batch, or in batches of `edit_batch`, the first of which `memit` applies, the next
    `memit{batch=1}`; `settings` maps a method to settings beside its preset (default `published`, on the testbed
    `testbed`). The testbed brings its own data where none is given.

    Raises RequestError with all that is wrong with any step before a weight is touched;
    InterventionError where a method fails.
    """
    steps = parse(composition)
    chosen = preset or ("testbed" if model == TESTBED else "published")

    def configure(step: Step) -> Intervention:
        own = {**(settings or {}).get(step.method, {}), **step.settings}
        return registry.intervention(step.method).configure(chosen, step.strength, own)

    for method in settings or {}:
        registry.intervention(method)
    links = chain_of(steps, configure, Recompress(recompress))
    data = _collection(model, edits, forget, retain)
    if edits and edit_batch is not None:
        data = replace(data, arranged=frozenset({"edits"}))  # in the order in which they were given
    context = Context(data, seed, batch_size=_batch_size(edit_batch, edits, data), tokens=calibration)
    subject = _subject(model, tokenizer, dtype)
    refuse(_faults(subject, links, context))
    if any(link.intervention.reads_base for link in links[1:]):
        subject.remember_base()
    for link in links:
        subject.apply(link.intervention, context, link.recompression)
    return subject


def _batch_size(asked: int | None, edits: Sequence[object], data: Collection) -> int:
    """Edits of a batch: all that were given, unless it is said."""
    if asked is not None and asked < 1:
        raise RequestError(f"edit_batch = {asked}", allowed="1 or more", hint="edit_batch=50")
    return asked or len(edits) or min(len(data.edits), 50)


def _faults(subject: Subject, links: Iterable[Link], context: Context) -> Iterator[RequestError]:
    """What keeps any step of a chain from being applied; re-compressions are steps that stand in it already."""
    for link in links:
        for fault in gathered(subject.faults(link.intervention, context)) if not link.recompression else ():
            yield fault.located(str(link))


def _subject(
    model: PreTrainedModel | str | Path, tokenizer: PreTrainedTokenizerBase | None, dtype: str | None
) -> Subject:
    if isinstance(model, (str, Path)):
        return loading.load(locate(str(model)), dtype=_checked(dtype or _DTYPES[0]))
    if dtype is not None:
        raise RequestError(f"dtype = {dtype!r} beside a model that is loaded", hint=f"model.to(torch.{dtype})")
    return loading.wrap(model, tokenizer)


def _checked(dtype: str) -> str:
    if dtype not in _DTYPES:
        raise RequestError(f"dtype = {dtype!r}", allowed=", ".join(_DTYPES))
    return dtype


def _collection(
    model: object, edits: Sequence[EditRecord | Mapping[str, Any]], forget: Sequence[str], retain: Sequence[str]
) -> Collection:
    if model == TESTBED and not (edits or forget or retain):
        from rayci.testbed import collection

        return collection()
    return Collection(
        edits=tuple(edit if isinstance(edit, EditRecord) else _record(edit) for edit in edits),
        forget=tuple(Document(text) for text in forget),
        retain=tuple(Document(text) for text in retain),
    )


def _record(edit: Mapping[str, Any]) -> EditRecord:
    try:
        return EditRecord(**edit)
    except TypeError as error:
        allowed = ", ".join(field.name for field in fields(EditRecord))
        raise DataError(f"the edit {edit!r} is no record: {error}", at="edits", allowed=allowed) from None
