"""What a run folder knows beside its table: its specification, and what failed in it."""

from __future__ import annotations

from pathlib import Path

import yaml


def spec_of(run: Path) -> str | None:
    """The specification of a run as YAML; None for a table that is no run's."""
    from rayci.trials.run_folder import RunFolder

    described = RunFolder(run).described()
    if described is None:
        return None
    return yaml.safe_dump(described["spec"], sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def tracebacks_of(run: Path) -> list[tuple[str, str]]:
    """(what failed, traceback) of a run; empty for a table that is no run's."""
    from rayci.trials.failures import failures, tracebacks
    from rayci.trials.run_folder import RunFolder

    folder = RunFolder(run)
    return tracebacks(failures(folder)) if folder.described() else []
