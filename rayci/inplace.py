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
from rayci.data.records import TEXTS, Collection, Document, EditRecord, QuestionAnswer
from rayci.errors import DataError, RequestError, gathered, refuse
from rayci.intervention import Intervention
from rayci.kinds import Recompress
from rayci.model import loading
from rayci.model.folder import TESTBED, locate
from rayci.planning.chain import Link, chain_of
from rayci.planning.composition import Step, parse
from rayci.subject import Subject

_DTYPES = ("float32", "bfloat16", "float16")
_Asked = Sequence[QuestionAnswer | Mapping[str, Any]]
"""Questions with their answers, as records or as their fields."""


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
    finetune: Sequence[str] = (),
    forget_questions: _Asked = (),
    retain_questions: _Asked = (),
    finetune_questions: _Asked = (),
    recompress: Recompress | str = Recompress.REFIT,
    seed: int = 0,
    dtype: str | None = None,
) -> Subject:
    """Apply `composition` to a model object, a folder, a hub id or `testbed`, in place.

    `calibration` is int64 `[sequences, tokens]`, all of it used; a model object needs its `tokenizer`
    where a method reads text, and keeps its dtype; others load in `dtype`, by default float32. `edits`
    are all applied as one batch, or in batches of `edit_batch`, the first of which `memit` applies, the next
    `memit{batch=1}`; `forget`, `retain` and `finetune` are texts, the questions `{"prompt": …, "answer": …}`;
    `settings` maps a method to settings beside its preset (default `published`, on the testbed
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
    data = _collection(
        model,
        edits=edits,
        forget=forget,
        retain=retain,
        finetune=finetune,
        forget_questions=forget_questions,
        retain_questions=retain_questions,
        finetune_questions=finetune_questions,
    )
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


def _collection(model: object, **parts: Sequence[Any]) -> Collection:
    """Part -> what was given of it; where nothing was, the testbed's own for the testbed."""
    if model == TESTBED and not any(parts.values()):
        from rayci.testbed import collection

        return collection()
    for part, given in parts.items():
        if isinstance(given, str):
            raise DataError(f"{part} is one text", at=part, allowed="a list", hint=f"{part}=[{given[:20]!r}, …]")
    records: dict[str, Any] = {part: tuple(_record(part, one) for one in given) for part, given in parts.items()}
    return Collection(**records)


def _record(part: str, given: Any) -> EditRecord | QuestionAnswer | Document:
    if part in TEXTS:
        if not isinstance(given, str):
            raise DataError(f"{given!r} is no text", at=part, allowed="texts")
        return Document(given)
    kind = EditRecord if part == "edits" else QuestionAnswer
    if isinstance(given, kind):
        return given
    try:
        return kind(**given)
    except TypeError as error:
        allowed = ", ".join(field.name for field in fields(kind))
        raise DataError(f"{given!r} is no record: {error}", at=part, allowed=allowed) from None
