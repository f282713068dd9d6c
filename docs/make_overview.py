"""Draw docs/overview.png, the README's picture, from a finished quickstart run."""

from pathlib import Path

from rayci import analysis
from rayci.analysis.page.overview import write_overview

ROOT = Path(__file__).parents[1]
CRITERIA = ["edit_success", "hazard", "utility"]
PAIRS = ["ft × wanda", "ft × rtn", "wanda × gd"]

if __name__ == "__main__":
    table = analysis.load(ROOT / "runs" / "quickstart")
    print(write_overview(table, ROOT / "docs" / "overview.png", criteria=CRITERIA, pairs=PAIRS))
