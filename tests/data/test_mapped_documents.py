"""Documents and tokens of large files are made once a node, and are what they would be in memory."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rayci.context import Context
from rayci.data import collect, leaks, mapped_documents
from rayci.data.mapped_documents import MappedDocuments, fingerprint_of
from rayci.data.records import Collection, Document, identity
from rayci.fingerprint import fingerprint
from rayci.interventions.editing.key_covariances import CovarianceText
from rayci.model import token_cache
from rayci.model.token_cache import joined_ids
from rayci.storage.prepared import once
from rayci.testbed import collection
from tests.models import tiny, tokenizer

SUPPLY = sys.modules["rayci.data.supply"]  # the package has a function of this name
DOCUMENTS = tuple(Document(f"Text {number} of the corpus.", "ab"[number % 2]) for number in range(2500))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's folder of its own, and files that are large from the first byte on."""
    monkeypatch.setenv("RAYCI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(SUPPLY, "MAPPED_FROM", 1)
    return tmp_path / "cache"


@pytest.fixture
def mapped(tmp_path: Path) -> MappedDocuments:
    return MappedDocuments(tmp_path / "d.arrow", mapped_documents.write(iter(DOCUMENTS), tmp_path / "d.arrow"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": own.text, "topic": own.topic}) + "\n" for own in DOCUMENTS))
    return path


def read(path: Path) -> Sequence[Document]:
    return collect({"calibration": str(path)}, "testbed").calibration


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("made again")


def test_they_are_as_the_tuple(mapped: MappedDocuments) -> None:
    assert len(mapped) == len(DOCUMENTS) and list(mapped) == list(DOCUMENTS)
    for place in (0, 1023, 1024, 2499, -1, -2500):
        assert mapped[place] == DOCUMENTS[place]
    for cut in (slice(1000, 1030), slice(None, None, -400), slice(5000, None)):
        assert mapped[cut] == DOCUMENTS[cut]
    with pytest.raises(IndexError):
        mapped[2500]
    assert (
        mapped == DOCUMENTS
        and tuple.__eq__(DOCUMENTS, mapped) is NotImplemented
        and mapped != DOCUMENTS[1:]
        and hash(mapped) == hash(DOCUMENTS)
    )
    assert Collection(forget=mapped) == Collection(forget=DOCUMENTS)
    assert DOCUMENTS[:1] + mapped == (DOCUMENTS[0], *DOCUMENTS) and pickle.loads(pickle.dumps(mapped)) == DOCUMENTS  # noqa: S301


def test_the_fingerprint_is_that_of_the_list(mapped: MappedDocuments) -> None:
    expected = fingerprint([identity(document) for document in DOCUMENTS])
    assert mapped.fingerprint == fingerprint_of(mapped) == fingerprint_of(DOCUMENTS) == expected
    assert fingerprint_of(()) == fingerprint([])


def test_a_file_is_read_once_a_node(corpus: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(corpus)
    assert isinstance(first, MappedDocuments) and first == DOCUMENTS and cache in first.path.parents
    with monkeypatch.context() as patch:
        patch.setattr(mapped_documents, "write", refuse)
        assert read(corpus) == first
        os.utime(corpus, ns=(1, 1))
        with pytest.raises(AssertionError, match="made again"):
            read(corpus)


def test_what_is_damaged_is_made_anew(corpus: Path) -> None:
    first = read(corpus)
    assert isinstance(first, MappedDocuments)
    whole = first.path.read_bytes()
    for damaged in (whole[:-100], b"", bytes([whole[0] ^ 1]) + whole[1:]):
        first.path.unlink()
        first.path.write_bytes(damaged)
        assert read(corpus) == DOCUMENTS and first.path.read_bytes() == whole


def test_small_files_and_nodes_without_room_read_into_memory(
    corpus: Path, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYCI_CACHE", str(tiny_disk))
    assert read(corpus) == DOCUMENTS and isinstance(read(corpus), tuple)
    monkeypatch.setattr(SUPPLY, "MAPPED_FROM", 1 << 24)
    assert isinstance(read(corpus), tuple)


def test_whoever_comes_first_makes_it(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> dict[str, int]:
        made.append(path)
        path.write_text("whole")
        return {"n": 1}

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: once("name.txt", make), range(8)))
    assert len(made) == 1 and all(path.read_text() == "whole" and facts == {"n": 1} for path, facts in found)


def test_tokens_are_made_once_a_node(mapped: MappedDocuments, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MappedDocuments(mapped.path, mapped.fingerprint)
    one, many = Context(Collection(calibration=DOCUMENTS)), Context(Collection(calibration=text))
    for _ in range(2):
        assert joined_ids(tokenizer(), text, "\n\n").tolist() == joined_ids(tokenizer(), DOCUMENTS, "\n\n").tolist()
        assert many.calibration(tokenizer(), 4, 32).equal(one.calibration(tokenizer(), 4, 32))
        assert not many.calibration(tokenizer(), 4, 32).equal(
            Context(many.data, seed=1).calibration(tokenizer(), 4, 32)
        )
        monkeypatch.setattr(token_cache, "_write", refuse)
    with pytest.raises(AssertionError, match="made again"):
        joined_ids(tokenizer(), text, " ")


def test_covariances_draw_the_same_text_once_a_node(mapped: MappedDocuments, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny(num_hidden_layers=1)

    def drawn(text: Sequence[Document]) -> list[list[int]]:
        whole = CovarianceText(subject, Context(Collection(covariance_text=text)), 20, 16)
        return [list(row) for row in whole.rows()]

    assert drawn(mapped) == drawn(DOCUMENTS) and len(drawn(mapped)) == 20
    monkeypatch.setattr(token_cache, "_write", refuse)
    assert drawn(MappedDocuments(mapped.path, mapped.fingerprint)) == drawn(DOCUMENTS)


def test_the_testbed_stays_as_it_was() -> None:
    assert all(isinstance(collection().part(name), tuple) for name in collection().supplied)


def test_what_large_parts_share_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": " ".join(map(str, range(60)))}))
    asked = {"retain": str(text), "evaluation": str(text)}
    (first,) = leaks.leaks(collect(asked, "testbed"), [])
    monkeypatch.setattr(leaks, "overlaps", refuse)
    (again,) = leaks.leaks(collect(asked, "testbed"), [])
    assert str(again) == str(first) and "11 runs of 50 words" in first.problem
    with pytest.raises(AssertionError, match="made again"):
        list(leaks.leaks(collect(asked, "testbed"), [("retain", "evaluation")]))
    with pytest.raises(AssertionError, match="made again"):
        list(leaks.leaks(collect({**asked, "forget": str(text)}, "testbed"), []))
