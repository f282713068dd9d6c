"""Whether a node has what the trials of a sweep need: model, data, GPU, memory, disk; and how fast it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rayci.data import TESTBED, asked, downloaded_files
from rayci.data.hub_files import AbsentDataError
from rayci.data.supply import locate as locate_data
from rayci.data.supply import places_on_the_hub
from rayci.errors import RequestError, StorageError
from rayci.forecast.rates import Rates, measure
from rayci.model import folder
from rayci.planning.spec import Spec
from rayci.running import machine_checks
from rayci.running.machine_checks import Check, Finding, State, look
from rayci.running.rows import versions
from rayci.storage import hub_cache
from rayci.storage.prepared import node_folder
from rayci.storage.user_paths import standing
from rayci.units import GIB, size

AS_SAID = 0.9
"""Share of `gpu_memory` that a GPU must have: makers count in other units, and keep some for themselves."""
_GIVE_DATA = "a folder that every node sees, or a hub that every node reaches"


@dataclass(frozen=True)
class Needs:
    """What a sweep's trials need of every node; None where that is not known."""

    spec: Spec
    """With absolute paths."""
    commit: str | None
    """The model's on the hub, as the driver has read it."""
    store: str
    """Where stages are written: a folder or a URL."""
    gpu: bool
    """Whether models go to a GPU."""
    share: float
    """Most GPUs that a trial reserves."""
    workers: int | None
    """Trials at a time, where their number is known; else as many as a node has room for."""
    device_bytes: int | None
    """Most memory of its device that a trial takes."""
    host_bytes: int | None
    """Most memory of its host that a trial takes."""
    disk_bytes: int | None
    """Most room that the stage store takes."""
    downloads: str | None = None
    """The driver's folder of downloaded data, see `rayci.data.downloaded_files`."""


@dataclass(frozen=True)
class NodeReport:
    """What was found on a node."""

    findings: tuple[Finding, ...]
    rates: Rates | None
    """None where they were not to be measured, or could not be."""
    versions: str
    """Of what computes rows there, as JSON."""
    began: float
    ended: float
    """Time of its clock at the first and at the last look, seconds since 1970."""


def report(needs: Needs, at_once: int, *, measured: bool) -> NodeReport:
    """Look at this machine, which has room for so many trials; rates are `measured` where nothing is wrong."""
    began = time.time()
    if needs.downloads is not None:
        os.environ[downloaded_files.VARIABLE] = needs.downloads
    findings = look(_checks(needs, at_once))
    rates: list[Rates] = []
    if measured and all(finding.state != "problem" for finding in findings):
        findings += look([("rates", partial(_measured, needs, rates))])
    return NodeReport(tuple(findings), rates[0] if rates else None, versions(), began, time.time())


def _checks(needs: Needs, at_once: int) -> Iterator[tuple[str, Check]]:
    yield "model", partial(_model, needs)
    yield "data", partial(_data, needs)
    if needs.gpu:
        yield "GPU", partial(_gpu, needs)
    yield "memory", partial(_memory, needs, min(at_once, needs.workers or at_once))
    yield "disk", partial(_disk, needs)


def _model(needs: Needs) -> Finding:
    spec = needs.spec
    if not folder.on_the_hub(spec.model):
        found = folder.locate(spec.model, code=spec.trust_remote_code)
    else:
        name, _, revision = folder.at_commit(spec.model, needs.commit).partition("@")
        try:
            found, _ = hub_cache.snapshot(name, "model", revision or None, ("*",), fetch=False)
            folder.weight_files(found)
        except RequestError:  # not all of it is there
            return _fetched("model", name, "model", revision)
    folder.parameters(found)  # reads of every weight file what it holds
    return Finding("model", "ok", str(found))


def _data(needs: Needs) -> Finding:
    spec = needs.spec
    if spec.data in (None, TESTBED):
        return Finding("data", "ok", TESTBED)
    absent: dict[str, None] = {}
    for part, source in asked(spec.data or {}, spec.reads()).items():
        try:
            list(locate_data(part, source, fetch=False))
        except AbsentDataError:
            places = places_on_the_hub(part, source)
            if not places:
                raise
            absent |= dict.fromkeys(places)
    findings = [_fetched("data", place, "dataset") for place in absent]
    wrong = [finding for finding in findings if finding.state == "problem"]
    return (wrong or findings or [Finding("data", "ok", "there")])[0]


def _fetched(subject: str, repository: str, kind: hub_cache.Kind, revision: str | None = None) -> Finding:
    """Of what is not on this node: whether it can be fetched."""
    absent = f"{repository} is not on this node"
    if (silent := hub_cache.why_silent()) is not None:
        return Finding(subject, "problem", f"{absent}, and {silent}", _GIVE_DATA)
    if (refused := hub_cache.access(repository, kind)) is not None:
        from huggingface_hub import get_token

        token = "" if get_token() else "HF_TOKEN is not set on this node; "
        return Finding(subject, "problem", f"{absent}: {refused.problem}", f"{token}{refused.hint or _GIVE_DATA}")
    from huggingface_hub.constants import HF_HUB_CACHE

    needed = hub_cache.bytes_to_fetch(repository, kind, revision, ("*.safetensors", "*.json")) or 0
    room = machine_checks.disk(Path(HF_HUB_CACHE), needed, "problem", "HF_HOME on a larger disk")
    if room.state == "problem":
        return Finding(subject, "problem", f"{absent}, and {room.found}", room.advice)
    return Finding(subject, "note", f"{absent} and will be fetched there ({size(needed)})")


def _gpu(needs: Needs) -> Finding:
    import torch

    found = machine_checks.gpus("problem", "a driver, and a torch for it: `rayci doctor` on that node")
    if found.state == "problem":
        return found
    free, total = torch.cuda.mem_get_info()
    assumed = (needs.spec.resources.gpu_memory or 0) * GIB
    if total < AS_SAID * assumed:
        return Finding("GPU", "problem", f"{found.found}, not {size(assumed)}", f"gpu_memory: {total / GIB:.0f}")
    held = max(1.0, needs.share) * total
    if needs.share >= 1 and free < AS_SAID * total:
        return Finding("GPU", "note", f"others hold {size(total - free)} of {found.found}")
    if needs.device_bytes and needs.device_bytes > held:
        return Finding("GPU", "note", f"a trial may take {size(needs.device_bytes)}, its GPUs have {size(held)}")
    return found


def _memory(needs: Needs, at_once: int) -> Finding:
    one = needs.host_bytes or 0
    alone = machine_checks.memory(one, "problem", "a node with more memory, or a smaller model")
    if alone.state == "problem":
        return alone
    advice = "`resources: {memory: auto}` lets no more trials in than fit"
    return machine_checks.memory(at_once * one, "note", f"{at_once} trials at once take that; {advice}")


def _disk(needs: Needs) -> Finding:
    state: State = "problem"
    place, advice = Path(needs.store), "make room; --store elsewhere, --store-limit, or --keep none"
    if "://" in needs.store:  # copies of what is read from there, the oldest are deleted
        place, state, advice = node_folder(), "note", "RAYCI_CACHE on a larger disk: stages are read again and again"
    return machine_checks.disk(place, needs.disk_bytes or 0, state, advice)


def _measured(needs: Needs, rates: list[Rates]) -> Finding:
    place = standing(node_folder() if "://" in needs.store else Path(needs.store))
    try:
        rates.append(measure("cuda" if needs.gpu else "cpu", place))
    except (OSError, StorageError) as error:
        advice = "--out, --store or --storage: a folder that every node sees and may write"
        return Finding("rates", "problem", f"nothing can be written in {place}: {error}", advice)
    return Finding("rates", "ok", rates[0].device)
