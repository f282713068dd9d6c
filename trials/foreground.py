"""One trial in this process: no Ray, nothing written, errors as they come."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rayci.errors import RequestError
from rayci.planning.sweep import Sweep
from rayci.running.runner import Runner, StageReport
from rayci.storage.stages import StageStore
from rayci.trials.asked_spec import Asked, read_spec
from rayci.trials.assignment import absolute, device_for, load_subject
from rayci.trials.selection import Selection


def debug(
    spec: Asked, composition: str, replicate: int = 0, seed: int = 0, changes: Iterable[str] = ()
) -> Iterator[StageReport]:
    """Run one trial from the untouched model on, a report after each stage; the first has the sweep's notes too.

    `changes` are keys of the spec that are set anew. The composition may be any of the spec's methods, also a prefix
    that is no trial of the sweep.

    An exception of a method or a criterion comes through with its traceback. The run folder and
    the store of the sweep are neither read nor written.
    """
    import torch
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    given, source = read_spec(spec, changes)
    sweep = Sweep.open(absolute(given), source)
    (text,) = Selection.of(given, [composition], replicate, seed).only
    trial = sweep.planner.trial(text, replicate, seed)
    gpus = 1 if given.resources.gpus else 0
    if device_for(given, gpus) != "cpu" and not torch.cuda.is_available():
        raise RequestError("the trial reserves a GPU, this machine has none", at="resources.gpus")
    torch.set_num_threads(given.resources.threads)
    subject = load_subject(sweep, gpus)
    with tempfile.TemporaryDirectory(prefix="rayci-") as folder:
        runner = Runner(sweep, subject, StageStore(Path(folder) / "store"), Path(folder), debug=True)
        depth = len(trial.stages)
        notes = sweep.notes
        for report in runner.run(trial, [trial.id] * depth, [False] * depth):
            yield replace(report, notes=(*notes, *report.notes))
            notes = ()
