"""Every method with settings that fit the tiny models and finish in a fraction of a second."""

from __future__ import annotations

from typing import Any

from rayci import registry
from rayci.intervention import Intervention
from tests.interventions.delta_folders import tiny_checkpoint, tiny_differences

_CALIBRATION: dict[str, Any] = {"sequences": 4, "length": 32}
_GROUPS: dict[str, Any] = {"group_size": 16}
_LOOP: dict[str, Any] = {"samples": 4, "batch": 2, "epochs": 1, "lr": 1e-3, "last_layers": 2}
_TEXT: dict[str, Any] = {**_LOOP, "max_tokens": 24}
_RMU: dict[str, Any] = {"layer": 2, "update": 2, "batch": 2, "max_batches": 2, "max_tokens": 24, "lr": 1e-3}
_CLOSED: dict[str, Any] = {"passes": 3, "lr": 0.1, "documents": 8, "max_tokens": 64, "context_tokens": 4}

_FAMILY = ("ga", "gd", "ga_klr", "npo", "npo_gdr", "npo_klr", "simnpo", "wga", "satimp", "task_vector")

COMPRESSORS: dict[str, tuple[float, dict[str, Any]]] = {
    "wanda": (0.5, _CALIBRATION),
    "sparsegpt": (0.5, _CALIBRATION),
    "magnitude": (0.5, {}),
    "gptq": (4, {**_CALIBRATION, **_GROUPS}),
    "awq": (4, {**_CALIBRATION, **_GROUPS}),
    "rtn": (4, _GROUPS),
    "hqq": (4, _GROUPS),
    "layerdrop": (1, _CALIBRATION),
}
"""Method -> strength and settings."""
TRAINERS: dict[str, dict[str, Any]] = {
    "ft": {"layers": (0, 2), "lr": 1e-3, "steps": 3},
    "lora": {"steps": 4, "tinit": 1, "tfinal": 1},
    "memit": {**_CLOSED, "layers": (0, 1), "covariance_weight": 5.0},
    "alphaedit": {**_CLOSED, "layers": (0, 1), "null_threshold": 0.05, "ridge": 0.1},
    "emmet": {**_CLOSED, "layers": (0, 1)},
    "rome": {**_CLOSED, "layers": (1,)},
    **dict.fromkeys(_FAMILY, _TEXT),
    "undial": {**_TEXT, "parametrisation": "full", "retain": "kl"},
    "rmu": {**_RMU, "retain_tokens": 24},
    "rmu_lat": {**_RMU, "retain_tokens": 24, "latent_layers": (0, 1), "inner_steps": 2},
    "sure": {
        "method": "npo_klr",
        "settings": {key: value for key, value in _TEXT.items() if key != "lr"},
        "percentile": 50,
        "lr": 1e-3,
    },
    "refusal": _LOOP,
    "finetune": _TEXT,
    "relearn": _TEXT,
}
"""Method -> settings."""
MERGERS = ("delta", "ties", "dare", "retrain")
METHODS = (*COMPRESSORS, *TRAINERS, *MERGERS)


def configured(method: str, strength: float | None = None, **settings: Any) -> Intervention:
    """A method with its small settings; what is given wins."""
    small = (None, _merging(method)) if method in MERGERS else COMPRESSORS.get(method, (None, TRAINERS.get(method, {})))
    return registry.intervention(method).configure("published", strength or small[0], {**small[1], **settings})


def _merging(method: str) -> dict[str, Any]:
    """Sources for the tiny model, made when they are first asked for."""
    if method == "retrain":
        return {"source": tiny_checkpoint()}
    one, other = tiny_differences()
    return {"source": one} if method == "delta" else {"sources": (one, other)}
