"""Draw docs/lasting.png, the README's second picture, from a finished run of does_it_last_testbed."""

from pathlib import Path

from rayci import analysis

ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    table = analysis.load(ROOT / "runs" / "does_it_last_testbed")
    print(analysis.print_figure(table, "what_lasts", ROOT / "docs" / "lasting.png"))
