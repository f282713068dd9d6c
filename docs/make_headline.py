"""Print the README's table of what quantisation brings back, in Markdown, from a finished run.

rayci run trials/specs/unlearning_vs_quantization_testbed.yaml
.venv/bin/python docs/make_headline.py runs/unlearning_vs_quantization_testbed
"""

from __future__ import annotations

import sys

from rayci import analysis
from rayci.analysis.text.escaping import markdown
from rayci.analysis.text.still_known import knowledge


def headline(run: str) -> str:
    """Recall of the forgotten facts: a row for each unlearner, a column for each precision, draws in their order."""
    pivot = knowledge(analysis.recovered(analysis.load(run), ["forget_recall"]))
    rule = ["---", *["---:"] * (len(pivot.header) - 1)]
    lines = [pivot.header, rule, *pivot.rows]
    return "\n".join(f"| {' | '.join(map(markdown, line))} |" for line in lines)


if __name__ == "__main__":
    print(headline(sys.argv[1]))
