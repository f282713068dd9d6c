"""Identity by content: equal values are equal everywhere, and what has no identity is refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch

from rayci.errors import RequestError
from rayci.fingerprint import canonical_json, derive_seed, fingerprint
from rayci.settings import LATER, ForwardBatch, Settings


class Colour(StrEnum):
    RED = "red"


class Inner(Settings):
    name: ClassVar[str] = "inner"

    depth: int = 1
    """How deep."""
    forward_batch: ForwardBatch = 8
    """How many at once."""


class Outer(Settings):
    name: ClassVar[str] = "outer"

    inner: Inner = Inner()
    """What is wrapped."""
    names: frozenset[str] = frozenset()
    """Without an order."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, 2.0, -0.0, 0.5], "a": None}, '{"a":null,"b":[1,2,0,0.5]}'),
        ((Colour.RED, "γ", True), '["red","\\u03b3",true]'),
        ({Colour.RED: 1, 2: "two"}, '{"2":"two","red":1}'),
    ],
)
def test_canonical_json(value: Any, text: str) -> None:
    assert canonical_json(value) == text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"settings": {"ratio": float("nan")}}, "settings.ratio is NaN"),
        ({"layers": [{1, 2}]}, r"layers\[0\] is a set.*sorted tuple"),
        (frozenset("ab"), "the value is a frozenset"),
        ({1: "a", "1": "b"}, "two keys '1'"),
        ({True: "a"}, "key True"),
        ({0.5: "a"}, "key 0.5"),
        ({"when": date(2024, 1, 1)}, "when is a datetime.date"),
        ({"where": Path("/data")}, "where is a pathlib.*hash of the content"),
        ({"how": len}, "how is a builtins.builtin_function_or_method"),
        ({"weights": torch.zeros(2)}, "weights is a torch.Tensor"),
        ({"text": b"bytes"}, "text is a builtins.bytes"),
    ],
)
def test_what_has_no_identity_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(RequestError, match=f"(?s){words}"):
        fingerprint(value)


def test_a_setting_without_an_order_is_refused_and_not_listed_in_one_that_changes() -> None:
    with pytest.raises(RequestError, match=r"settings\.names is a frozenset"):
        fingerprint(Outer(names=frozenset("abc")).identity())


def test_the_identity_of_a_wrapper_holds_what_it_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(**inner: int) -> dict[str, Any]:
        return {key: value for key, value in Outer(inner=Inner(**inner)).identity().items() if key != "names"}

    before = identity()
    assert identity(forward_batch=1) == before  # changes how fast, never what
    assert identity(depth=2) != before
    monkeypatch.setattr(Inner, "version", 2)
    assert identity() != before


def test_fingerprints_and_seeds_are_the_same_in_every_process() -> None:
    code = "from rayci.fingerprint import *; print(fingerprint({'b': [1.5, None], 'a': 'γ'}), derive_seed(0, 'x', 3))"
    texts = {
        subprocess.check_output([sys.executable, "-c", code], text=True, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert texts == {f"{fingerprint({'a': 'γ', 'b': [1.5, None]})} {derive_seed(0, 'x', 3)}\n"}


class Grown(Inner):
    """A method that got a field after its results had been stored."""

    turns: Annotated[int, LATER] = 0
    """How often it is turned over."""


def test_a_later_field_is_in_the_identity_only_where_it_says_something() -> None:
    assert Grown().identity() == Inner().identity()
    assert Grown(turns=1).effective() == Inner().effective() | {"turns": 1}
