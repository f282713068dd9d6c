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
from rayci.planning.composition import Composition, Step, join, parse


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
    ("text", "steps"),
    [
        ("ft{batch=0..2}", ["ft{batch=0}", "ft{batch=1}", "ft{batch=2}"]),
        ("ft > ft{batch=1..2} > rtn@4", ["ft", "ft{batch=1}", "ft{batch=2}", "rtn@4"]),
        ("ft{batch=9..10,lr=0.1}", ["ft{batch=9,lr=0.1}", "ft{batch=10,lr=0.1}"]),
        ("rtn@4{group_size=7..8}", ["rtn@4{group_size=7}", "rtn@4{group_size=8}"]),
        ("ft{batch=3}", ["ft{batch=3}"]),
        ("ft{batch=1} > ft{batch=1}", ["ft{batch=1}", "ft{batch=1}"]),
        ("ft{batch=1} > ft{batch=3}", ["ft{batch=1}", "ft{batch=3}"]),
        ("ft{batch=1} > ga > ft{batch=2}", ["ft{batch=1}", "ga", "ft{batch=2}"]),
        ("ft{lr=1.5} > ft{lr=2.5}", ["ft{lr=1.5}", "ft{lr=2.5}"]),
        ("ft{a='b=1'} > ft{a='b=2'}", ["ft{a=b=1}", "ft{a=b=2}"]),
        ("ft{a='0..9'}", ["ft{a='0..9'}"]),
        ("ft{a=[1, 'b=1', 2]} > ft{a=[1, 'b=2', 2]}", ["ft{a=[1, b=1, 2]}", "ft{a=[1, b=2, 2]}"]),
        ("ft{a=1,b=2} > ft{a=2,b=3}", ["ft{a=1,b=2}", "ft{a=2,b=3}"]),
    ],
)
def test_a_run_of_steps_has_one_text(text: str, steps: list[str]) -> None:
    parsed = parse(text)
    assert [str(step) for step in parsed.steps] == steps
    assert parse(str(parsed)) == parsed == parse(" > ".join(steps))
    assert join(map(str, parsed.steps)) == str(parsed)
    assert ".." not in text or str(parsed) == text


def test_the_text_of_a_hundred_batches_is_short() -> None:
    chain = Composition(tuple(Step("memit", None, {"batch": batch}) for batch in range(100)))
    assert str(chain) == "memit{batch=0..99}"
    assert len(parse("memit{batch=0..1000} > ft".replace("1000", "999")).steps) == 1001
    longer = join(f"ft{{batch={batch}}}" for batch in range(1500))
    assert longer == "ft{batch=0..999} > ft{batch=1000..1499}"
    assert len(parse(longer).steps) == 1500


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("memit{batch=5..0}", "batch = 5..0 of step 'memit{batch=5..0}' is no run"),
        ("memit{batch=0..1000}", "batch = 0..1000 of step"),
        ("memit{batch=0..2,z_batch=1..3}", "two settings of step .* are runs"),
    ],
)
def test_what_is_no_run_is_refused(text: str, problem: str) -> None:
    with pytest.raises(RequestError, match=problem) as error:
        parse(text)
    assert error.value.allowed == "one setting first..last of a step, rising, at most 1000 steps"


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
