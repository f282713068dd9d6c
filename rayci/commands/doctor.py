"""What of this machine is fine, and what to do about the rest."""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rayci.running.machine_checks import Check, Finding, disk, gpus, hub, look, memory
from rayci.units import GIB


def examine() -> list[Finding]:
    """Look at everything a sweep stands on; never raises, never takes more than seconds."""
    checks: list[tuple[str, Check]] = [
        ("Python", _python),
        ("torch", _torch),
        ("GPU", lambda: gpus("note", "the testbed needs none; for 7B models use a machine with one")),
        ("Ray", _ray),
        ("memory", lambda: memory(4 * GIB, "note", "run with --workers 1")),
        ("disk", lambda: disk(Path.cwd(), 5 * GIB, "problem", "make room, or use --out and --store elsewhere")),
        ("hub", hub),
        ("old packages", _predecessors),
        ("testbed", _testbed),
    ]
    return look(checks)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _torch() -> Finding:
    import torch

    return Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads by default")


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
