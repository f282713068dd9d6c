"""The text form of compositions, and where re-compression goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayci import registry
from rayci.errors import RequestError
from rayci.intervention import Intervention
from rayci.kinds import Recompress
from rayci.planning.chain import chain_of
from rayci.planning.composition import Composition, Step, parse


def configure(step: Step) -> Intervention:
    return registry.intervention(step.method).configure("testbed", step.strength, step.settings)


names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
numbers = st.one_of(st.integers(0, 64), st.floats(1e-6, 1e6, allow_nan=False)).map(float)
values = st.one_of(st.integers(-9, 9), st.booleans(), st.lists(st.integers(0, 9), max_size=3), names)
steps = st.builds(
    Step,
    names,
    st.one_of(st.none(), numbers, st.just("2:4")),
    st.dictionaries(names, values, max_size=3),
)


@given(st.lists(steps, min_size=1, max_size=4).map(lambda items: Composition(tuple(items))))
def test_text_reads_back(composition: Composition) -> None:
    assert parse(str(composition)) == composition


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("ft", Step("ft")),
        ("wanda@0.5", Step("wanda", 0.5)),
        ("rtn@4", Step("rtn", 4.0)),
        ("wanda@2:4", Step("wanda", "2:4")),
        ("rtn@4{group_size=64}", Step("rtn", 4.0, {"group_size": 64})),
        ("ft{layers=[1,2],lr=1e-3}", Step("ft", None, {"layers": [1, 2], "lr": 1e-3})),
    ],
)
def test_steps(text: str, step: Step) -> None:
    assert parse(text).steps == (step,)
    assert parse(f"  {text}>{text} ").steps == (step, step)


@pytest.mark.parametrize(
    "text", ["", " ", ">", "ft >", "ft >> wanda", "wanda@", "wanda@1/2", "ft{lr}", "ft{lr=1,lr=2}", "4bit"]
)
def test_unreadable(text: str) -> None:
    with pytest.raises(RequestError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "policy", "chain"),
    [
        ("ft > wanda@0.5", "refit", "ft > wanda@0.5"),
        ("wanda@0.5 > ft", "refit", "wanda@0.5 > ft > refit(wanda@0.5)"),
        ("wanda@0.5 > ft", "reproject", "wanda@0.5 > ft > reproject(wanda@0.5)"),
        ("wanda@0.5 > ft", "never", "wanda@0.5 > ft"),
        ("wanda@0.5 > ft", "published", "wanda@0.5 > ft > refit(wanda@0.5)"),
        ("rtn@4 > ft", "published", "rtn@4 > ft"),
        ("wanda@0.5 > ft > gd", "refit", "wanda@0.5 > ft > gd > refit(wanda@0.5)"),
        ("wanda@0.5 > rtn@4", "refit", "wanda@0.5 > rtn@4"),
        ("wanda@0.5 > ft > rtn@4", "refit", "wanda@0.5 > ft > refit(wanda@0.5) > rtn@4"),
        ("wanda@0.5 > rtn@4 > ft", "refit", "wanda@0.5 > rtn@4 > ft > refit(wanda@0.5) > refit(rtn@4)"),
        ("wanda@0.5 > ft > rtn@4 > gd", "refit", "wanda@0.5 > ft > refit(wanda@0.5) > rtn@4 > gd > refit(rtn@4)"),
        ("ft > ft", "refit", "ft > ft"),
    ],
)
def test_recompression(text: str, policy: str, chain: str) -> None:
    links = chain_of(parse(text), configure, Recompress(policy))
    assert " > ".join(map(str, links)) == chain
