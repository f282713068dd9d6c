"""Options that take several values: repeated, with commas, or both."""

from __future__ import annotations

import pytest

from rayci.commands.options import listed, numbers, ranges, whole
from rayci.errors import RequestError


@pytest.mark.parametrize(
    ("texts", "read"),
    [
        (None, ()),
        (["csv,md", "tex"], ("csv", "md", "tex")),
        ([" csv , md ", "csv", ""], ("csv", "md")),
    ],
)
def test_names_by_commas_and_by_repetition(texts: list[str] | None, read: tuple[str, ...]) -> None:
    assert listed(texts) == read


def test_numbers_by_name() -> None:
    assert numbers(["mmlu=0.05,perplexity=1", "wmdp = 2e-1"], "--within") == {
        "mmlu": 0.05,
        "perplexity": 1,
        "wmdp": 0.2,
    }


@pytest.mark.parametrize("text", ["mmlu", "mmlu=", "mmlu=x", "mmlu=nan", "mmlu=inf"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--within"):
        numbers([text], "--within")


def test_ranges_by_name() -> None:
    assert ranges(["bits=3:8,sparsity = 0.2:.5"], "--over") == {"bits": (3, 8), "sparsity": (0.2, 0.5)}


@pytest.mark.parametrize("text", ["bits", "bits=3", "bits=3:", "bits=3:4:8", "bits=a:b", "bits=3:inf"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--over"):
        ranges([text], "--over")


@pytest.mark.parametrize("text", ["", "two", "-1", "2.5", "²"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    assert whole("3", "--size") == 3
    with pytest.raises(RequestError, match="--size"):
        whole(text, "--size")
