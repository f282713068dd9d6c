"""What `rayci run` ends with: in which order, what was shared, what failed."""

from __future__ import annotations

import shlex
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayci import analysis
from rayci.commands.console import Format, notes, out, pairs, plain, say, show
from rayci.commands.options import INTERRUPTED, LIMIT_REACHED, OK, SOME_FAILED
from rayci.commands.result_view import print_answer, print_knowledge
from rayci.commands.run_facts import spec_of, tracebacks_of
from rayci.errors import RequestError
from rayci.kinds import Status

if TYPE_CHECKING:
    from rayci.trials.driver import Run
    from rayci.trials.knobs import Knobs

_FAILURES_SHOWN = 10
_ROWS_SHOWN = 60


def print_debug(
    spec: Path, changes: Sequence[str], only: Sequence[str], replicate: int | None, seed: int | None
) -> bool:
    """Run one trial in this process and print each stage's values; returns whether a stage failed."""
    from rayci.trials.foreground import debug

    if len(only) != 1:
        raise RequestError("--debug runs one composition", at="--only", hint='--only "ft > wanda@0.5" --debug')
    try:
        for report in debug(spec, only[0], replicate or 0, seed or 0, changes):
            said = {"note": "; ".join(report.notes)} if report.notes else {}
            pairs({**report.values, **said}, title=report.stage.chain or "untouched model")
    except RequestError:
        raise
    except Exception:  # the traceback is what was asked for
        traceback.print_exc()
        return True
    return False


def print_end(run: Run | None, spec: Path, knobs: Knobs) -> int:
    """Print how a command ended, and what it has; returns its exit code. None: it was interrupted."""
    if run is None or not (run.complete or run.left):
        say(f"Interrupted. The same command continues: {knobs.command(spec)}", console=notes)
        return INTERRUPTED
    failed = bool(run.folder.held()) and print_run(run, spec, knobs.set)
    if run.left:
        say(f"{run.left}. The same command continues: {knobs.command(spec)}", console=notes)
        return LIMIT_REACHED
    return SOME_FAILED if failed else OK


def print_run(run: Run, spec: Path, changes: Sequence[str] = ()) -> bool:
    """Print the result of a run and write its report; returns whether anything failed.

    `spec`, with the keys that were set anew, is how it was asked for.
    """
    table = run.table
    print_knowledge(table)
    answer = analysis.which_order(table)
    print_answer(answer, most=_ROWS_SHOWN)
    counts = run.plan.summary()
    readings = f"{counts['evaluations_asked']} asked, {counts['evaluations_computed']} distinct"
    summary: dict[str, Any] = {
        "trials": f"{counts['trials']} ({counts['compositions']} compositions)"
        + ("" if run.computed else ", all done before: nothing was computed"),
        "stages": _stages(run, counts),
        "evaluations": readings,
        "failures": _print_failures(run, [str(spec), *(word for change in changes for word in ("--set", change))]),
    }
    if without := _inapplicable(run):
        summary["not applicable"] = without
    pairs(summary)
    for note in (*run.notes, *analysis.ruinous_steps(table)):
        out.print(f" [dim]note[/dim]   {plain(note)}", soft_wrap=True)
    root = run.folder.root
    report = analysis.report(table, root, tracebacks=tracebacks_of(root), spec=spec_of(root), answer=answer)
    for name, path in (("table", run.folder.parts), ("report", report)):
        out.print(f" [dim]{name}[/dim]  {plain(str(path))}", soft_wrap=True)  # whole, so that it can be copied
    return bool(summary["failures"] != "none")


def print_failures(run: Path, format: Format) -> None:
    """Print what failed in a run, each with its reason and its traceback."""
    from rayci.trials.failures import Failure, failures
    from rayci.trials.run_folder import RunFolder

    failed = failures(RunFolder(run))
    if format is not Format.TABLE:
        show([asdict(failure) for failure in failed], format, columns=[field.name for field in fields(Failure)])
        return
    for failure in failed:
        batch = "" if failure.replicate is None else f", replicate {failure.replicate}"
        criteria = ", ".join(failure.criteria)
        line = f"{failure.chain}{batch} ({criteria}): {failure.reason}"
        say(line, "yellow")
        say(failure.traceback or "no traceback")
    if not failed:
        out.print("nothing failed")


def _stages(run: Run, counts: dict[str, int]) -> str:
    asked, distinct = counts["stages_asked"], counts["stages_computed"]
    now = run.counts.get("applied", 0)
    if run.computed and now != distinct:  # continued, started from another run's store, or sharing was off
        return f"{asked} asked, {distinct} distinct, {now} computed in this run"
    return f"{asked} asked, {distinct} computed ({asked - distinct} shared)"


def _print_failures(run: Run, spec: Sequence[str]) -> str:
    """Print stages without a value, the first few with reason and the command that repeats the trial; the count.

    Of what was asked for: what else the table holds may have failed without this request failing.
    """
    frame = run.table.frame
    frame = frame[frame["stage_fingerprint"].isin(run.plan.stages)]
    # What does not apply was looked at; what was skipped because a step had failed was not.
    lost = frame[
        (frame["status"] == Status.FAILED) | ((frame["status"] == Status.SKIPPED) & frame["measure_seconds"].isna())
    ]
    if lost.empty:
        return "none"
    stages = lost.drop_duplicates(["chain", "replicate", "reason"])
    shown: list[Any] = stages.head(_FAILURES_SHOWN).to_dict("records")
    for row in shown:
        name = row["chain"] or "untouched model"
        say(f"{row['status']}: {name}, {row['criterion']}: {row['reason']}", "yellow")
        if row["status"] == Status.FAILED and row["composition"]:  # the untouched model is no composition
            say(f"  {_repeat(spec, row)}", "dim")
    if len(stages) > _FAILURES_SHOWN:
        out.print(f"… and {len(stages) - _FAILURES_SHOWN} more, all in the report")
    return f"{len(lost)} of {len(frame)} values missing"


def _inapplicable(run: Run) -> str:
    """Which criteria do not apply to some stages, and why; empty where all do."""
    frame = run.table.frame
    frame = frame[frame["stage_fingerprint"].isin(run.plan.stages)]
    frame = frame[(frame["status"] == Status.SKIPPED) & frame["measure_seconds"].notna()]
    reasons = Counter(zip(frame["criterion"], frame["reason"], strict=True))
    return "; ".join(f"{criterion}: {count} values, {reason}" for (criterion, reason), count in reasons.items())


def _repeat(spec: Sequence[str], row: Mapping[str, Any]) -> str:
    """The command that repeats a failed stage's trial in the foreground."""
    given = ["rayci", "run", *spec, "--only", row["composition"]]
    for option in ("replicate", "seed"):
        given += [f"--{option}", f"{row[option]:.0f}"] if row[option] and row[option] > 0 else []  # 0 is the default
    return shlex.join([*given, "--debug"])
