"""What every worker of a sweep is given, small enough to travel with each trial."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from socket import gethostname
from typing import TYPE_CHECKING, Any

from rayci.data import downloaded_files
from rayci.data.relocation import relocated
from rayci.errors import RequestError
from rayci.model.folder import Hashes
from rayci.planning.own_folders import named, renamed
from rayci.planning.plan import Plan, Trial
from rayci.planning.spec import Spec
from rayci.running.reasons import NO_MORE
from rayci.storage.user_paths import path_of
from rayci.trials.knobs import DEFAULT, Knobs
from rayci.units import GIB

if TYPE_CHECKING:
    from rayci.planning.sweep import Sweep
    from rayci.running.runner import Runner
    from rayci.running.timesheet import Timesheet
    from rayci.subject import Subject


@dataclass(frozen=True)
class Assignment:
    """A sweep and where it reads and writes."""

    spec: Spec
    """With absolute paths: workers have another working directory."""
    results: str
    """Folder where `table/` and `items/` are written, or its URL."""
    store: str
    """Folder of the stage store, or its URL."""
    knobs: Knobs = DEFAULT
    """How the sweep is run."""
    hashes: Hashes | None = None
    """The model's files as the driver has hashed them; None lets every worker hash them."""
    content: str | None = None
    """That of the driver's sweep, which a worker's must equal."""
    commit: str | None = None
    """The model's commit on the hub that the driver has read; a branch may have moved since."""
    downloads: str | None = None
    """The driver's folder of downloaded data, see `rayci.data.downloaded_files`."""

    rates: Mapping[str, float] = field(default_factory=dict)
    """By name of a device, operations a second of one GPU or one CPU core in the model's dtype, where measured."""

    def runner(self, gpus: float, sheet: Timesheet) -> Runner:
        """The runner of one worker, with the model loaded on what the trial reserved; `sheet` is the worker's.

        Raises RequestError where this machine has another model or other data than the driver.
        """
        # Imported here: an actor must be alive before torch is, see `CompositionTrial`.
        from rayci.planning.sweep import Sweep
        from rayci.running.runner import Runner
        from rayci.storage.stages import StageStore

        if self.downloads is not None:
            os.environ[downloaded_files.VARIABLE] = self.downloads
        sweep = Sweep.open(self.spec, hashed=self.hashes, commit=self.commit)
        if self.content not in (None, sweep.content):
            raise RequestError(
                f"the data on {gethostname()}, or what methods read, are not those that the sweep was started with",
                at=", ".join([str(self.spec.data), *named(self.spec)]),
                hint="the same data on every node, left alone while the sweep runs",
            )
        store, subject = StageStore(self.store, limit=self.knobs.store_limit), load_subject(sweep, gpus)
        sheet.device_rate = self._rate(subject, gpus)
        return Runner(
            sweep,
            subject,
            store,
            self.results,
            self.knobs.sharing,
            device_share=min(gpus, 1.0),
            sheet=sheet,
        )

    def _rate(self, subject: Subject, gpus: float) -> float | None:
        """Operations a second of what the trial reserved; None where nobody measured a device like this one."""
        from rayci.forecast.rates import device_name

        one = self.rates.get(device_name(subject.device))
        return None if one is None else one * (gpus if subject.device.type == "cuda" else self.spec.resources.threads)


def trial_config(
    plan: Plan,
    trial: Trial,
    *,
    first: int = 0,
    keep: list[bool] | None = None,
    resources: Mapping[str, float] | None = None,
    no_more: str | None = NO_MORE,
) -> dict[str, Any]:
    """The Tune config of a trial: the tuple itself, and its part in the plan.

    `first` is the depth of the first stage that this trial must see done, `keep` says for each
    stage whether to store its weights. By default a trial does all its stages, and stores those
    that the plan shares: right for one's own Tuner, in which every trial stands alone. `no_more` says
    why the trial gets no more memory, None where it may. Without `resources` it reserves what the
    spec says; RequestError for `auto` then.
    """
    return {
        "trial": trial.id,
        "composition": trial.composition,
        "replicate": trial.replicate,
        "seed": trial.seed,
        "first": first,
        "owners": [plan.owners[stage.fingerprint] for stage in trial.stages],
        "keep": [stage.fingerprint in plan.shared for stage in trial.stages] if keep is None else keep,
        "resources": dict(resources or _asked(plan.spec)),
        "no_more": no_more,
    }


def _asked(spec: Spec) -> dict[str, float]:
    """What the spec says that a trial reserves, as Ray names it."""
    asked = {"cpus": spec.resources.cpus, "gpus": spec.resources.gpus, "memory": spec.resources.memory}
    known = {key: amount for key, amount in asked.items() if not isinstance(amount, str)}
    for key in asked.keys() - known.keys():
        raise RequestError(
            f"{key}: auto is for sweeps that rayci launches: a Tuner of one's own must know what each trial reserves",
            at=f"resources.{key}",
            hint="trial_config(…, resources={'CPU': 1, 'GPU': 0.5, 'memory': 16 * 2**30})",
        )
    return {"CPU": known["cpus"], "GPU": known["gpus"], "memory": known["memory"] * GIB}


def load_subject(sweep: Sweep, gpus: float) -> Subject:
    """The model of a sweep, on what a trial that reserves so many GPUs has."""
    return sweep.load(device_for(sweep.spec, gpus))


def device_for(spec: Spec, gpus: float) -> str:
    """Where the model of a trial that reserves so many GPUs goes: `auto` spreads its blocks over several."""
    if not gpus or spec.resources.device == "cpu":
        return "cpu"
    return "cuda" if gpus <= 1 else "auto"


def absolute(spec: Spec) -> Spec:
    """The spec with its folders and files made absolute."""
    changes: dict[str, Any] = {"model": _absolute(spec.model)}
    changes["data"] = relocated(spec.data, lambda path: str(path_of(path)))
    changes["criteria"] = {
        name: {key: str(path_of(value)) if key == "include_path" else value for key, value in settings.items()}
        for name, settings in spec.criteria.items()
    }
    return renamed(spec.model_copy(update=changes), lambda source, _: _absolute(source))


def _absolute(source: str) -> str:
    return str(folder) if (folder := path_of(source)).is_dir() else source
