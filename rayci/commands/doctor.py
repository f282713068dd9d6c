"""What of this machine is fine, and what to do about the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.request import Request, urlopen

_GIB = 1 << 30
_LEAST_DISK_GIB = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: str
    """`ok`, `note` (works, with a limit) or `problem`."""
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything a sweep stands on; never raises, never takes more than seconds."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", _python),
        ("torch", _torch),
        ("GPU", _gpu),
        ("Ray", _ray),
        ("memory", _memory),
        ("disk", _disk),
        ("hub", _hub),
        ("old packages", _predecessors),
        ("testbed", _testbed),
    ]
    findings = []
    for subject, check in checks:
        try:
            findings.append(check())
        except Exception as error:
            findings.append(Finding(subject, "problem", f"{type(error).__name__}: {error}", "reinstall rayci"))
    return findings


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _torch() -> Finding:
    import torch

    return Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads by default")


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", "note", "none", "the testbed needs none; for 7B models use a machine with one")
    names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    found = ", ".join(f"{device.name} ({device.total_memory / _GIB:.0f} GiB)" for device in names)
    return Finding("GPU", "ok", found, "trials use it with `resources: {gpus: 1}`, or a fraction")


def _ray() -> Finding:
    found = version("ray")
    if importlib.util.find_spec("ray.tune") is None:
        return Finding("Ray", "problem", f"{found} without Tune", "pip install 'ray[tune]'")
    from rayci.trials.auth_token import exposed_token
    from rayci.trials.ray_internals import missing

    if lost := missing():
        parts = "; ".join(f"without {internal} (Ray {internal.seen}) {internal.lost}" for internal in lost)
        return Finding("Ray", "note", f"{found}: {parts}", "pip install 'ray[tune]>=2.60,<2.61'")
    if (token := exposed_token()) is not None:
        return Finding("Ray", "note", f"{found}: others can read {token}", f"chmod 600 {token}")
    return Finding("Ray", "ok", found)


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "note", "unknown")
    advice = "" if total >= 4 else "less than 4 GiB: run with --workers 1"
    return Finding("memory", "ok" if total >= 4 else "note", f"{total:.0f} GiB", advice)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    if free < _LEAST_DISK_GIB:
        return Finding("disk", "problem", f"{free:.1f} GiB free here", "make room, or use --out and --store elsewhere")
    return Finding("disk", "ok", f"{free:.0f} GiB free here")


def _hub() -> Finding:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "note", "offline by HF_HUB_OFFLINE", "models and data must lie in local folders")
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=3)  # noqa: S310 - the hub library's own address
    except OSError as error:
        reason = f"not reached ({type(error).__name__})"
        return Finding(
            "hub", "note", reason, "use `model: <folder>` and `data: <folder>`; the testbed ships with rayci"
        )
    return Finding("hub", "ok", "reached")


def _predecessors() -> Finding:
    installed = []
    for name in ("auto-gptq", "autoawq"):
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if installed:
        return Finding("old packages", "note", ", ".join(installed), "unused: rayci quantises in torch; see the README")
    return Finding("old packages", "ok", "none")


def _testbed() -> Finding:
    from rayci.model.folder import hash_files, identity, locate

    return Finding("testbed", "ok", f"checkpoint {identity(hash_files(locate('testbed')))[:12]}")
