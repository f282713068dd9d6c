"""What a machine has for trials: for `rayci doctor`, and for a look at every type of node before a sweep starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.request import Request, urlopen

from rayci.errors import RequestError
from rayci.forecast.host import host_bytes
from rayci.storage.user_paths import standing
from rayci.units import size

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: State
    """`ok`, `note` (works, with a limit) or `problem`."""
    found: str
    advice: str = ""


Check = Callable[[], Finding]


def look(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    """What every check finds; one that fails is a problem of its subject, whatever it raises."""
    findings = []
    for subject, check in checks:
        try:
            findings.append(check())
        except RequestError as error:
            findings.append(Finding(subject, "problem", error.problem, error.hint or error.allowed or ""))
        except Exception as error:
            findings.append(Finding(subject, "problem", f"{type(error).__name__}: {error}", "reinstall rayci"))
    return findings


def gpus(lacking: State, advice: str) -> Finding:
    """The GPUs that torch sees; `lacking` is what it is to see none."""
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", lacking, "none that CUDA can use", advice)
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    found = ", ".join(f"{device.name} ({size(device.total_memory)})" for device in devices)
    return Finding("GPU", "ok", found, "trials use it with `resources: {gpus: 1}`, or a fraction")


def memory(needed: float, lacking: State, advice: str) -> Finding:
    """Memory of the host, or of the container; `lacking` is what it is to have less than the bytes that are needed."""
    total = host_bytes()
    if total < needed:
        return Finding("memory", lacking, f"{size(total)}, less than {size(needed)}", advice)
    return Finding("memory", "ok", size(total))


def disk(place: Path, needed: float, lacking: State, advice: str) -> Finding:
    """Room on the disk of a folder, or of the nearest one above it that is there."""
    there = standing(place)
    free = shutil.disk_usage(there).free
    if free < needed:
        return Finding("disk", lacking, f"{size(free)} free in {there}, less than {size(needed)}", advice)
    return Finding("disk", "ok", f"{size(free)} free in {there}")


def hub() -> Finding:
    """Whether the hub answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "note", "offline by HF_HUB_OFFLINE", "models and data must lie in local folders")
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=3)  # noqa: S310 - the hub library's own address
    except OSError as error:
        advice = "use `model: <folder>` and `data: <folder>`; the testbed ships with rayci"
        return Finding("hub", "note", f"not reached ({type(error).__name__})", advice)
    return Finding("hub", "ok", "reached")
