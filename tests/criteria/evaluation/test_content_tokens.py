"""What counts of a continuation, on models that say given tokens."""

from __future__ import annotations

import pytest

from rayci.criteria.evaluation.content_tokens import SPARE, content_tokens, has_line_break, is_content
from tests.criteria.evaluation.test_multiple_choice import inputs_seen
from tests.criteria.spoken import chained, token
from tests.models import tokenizer

ENOUGH = 1000


def test_special_and_bare_space_tokens_are_no_content() -> None:
    counts, word, line_break = is_content(tokenizer()), token(" the"), token("\n")
    tokens = [0, token(" "), word, 1, line_break, word]
    assert list(filter(counts, tokens)) == [word, line_break, word]
    assert list(filter(has_line_break(tokenizer()), tokens)) == [line_break]


def test_nothing_comes_after_the_end_of_text() -> None:
    subject = chained(token(" the"), 0, token(" a"))
    assert content_tokens(subject, ["Ada is"], [3], ENOUGH) == [[token(" the")]]


@pytest.mark.parametrize(("one_line", "said"), [(False, (" the", "\n", " a")), (True, (" the",))])
def test_a_line_break_ends_one_line_alone(one_line: bool, said: tuple[str, ...]) -> None:
    subject = chained(token(" the"), token("\n"), token(" a"))
    (found,) = content_tokens(subject, ["Ada is"], [3], ENOUGH, one_line=one_line)
    assert found == list(map(token, said))


def test_spare_tokens_make_up_for_bare_spaces() -> None:
    subject = chained(token(" the"), token(" "), token(" a"))
    assert content_tokens(subject, ["Ada is", "Who"], [2, 0], ENOUGH) == [[token(" the"), token(" a")], []]


def test_a_model_that_says_spaces_alone_is_not_heard_out() -> None:
    subject = chained(token(" "), token(" "))
    with inputs_seen(subject) as shapes:
        assert content_tokens(subject, ["Ada is"], [2], ENOUGH) == [[]]
    assert len(shapes) <= 2 + SPARE + 1  # and one pass that looks for the cache
