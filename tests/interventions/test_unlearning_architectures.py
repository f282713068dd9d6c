"""Every unlearning and training method on every supported architecture, tied and untied."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci import registry
from rayci.context import Context
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import ARCHITECTURES, LAYERS, differing, tiny, weights

CONTEXT = Context(collection())
LOOP: dict[str, Any] = {"samples": 4, "batch": 2, "epochs": 1, "lr": 1e-3, "last_layers": 2}
TEXT: dict[str, Any] = {**LOOP, "max_tokens": 24}
RMU: dict[str, Any] = {"layer": 2, "update": 2, "batch": 2, "max_batches": 2, "max_tokens": 24, "lr": 1e-3}
METHODS: dict[str, dict[str, Any]] = {
    "ga": TEXT,
    "gd": TEXT,
    "ga_klr": TEXT,
    "npo": TEXT,
    "npo_gdr": TEXT,
    "npo_klr": TEXT,
    "simnpo": TEXT,
    "undial": {**TEXT, "retain": "kl"},
    "wga": TEXT,
    "satimp": TEXT,
    "rmu": RMU,
    "rmu_lat": {**RMU, "latent_layers": (0, 1), "inner_steps": 2},
    "sure": {
        "method": "npo_klr",
        "settings": {key: value for key, value in TEXT.items() if key != "lr"},
        "percentile": 50,
        "lr": 1e-3,
    },
    "refusal": LOOP,
    "finetune": TEXT,
    "relearn": {**LOOP, "loss_on": "answer"},
    "task_vector": TEXT,
}


def apply(subject: Subject, method: str, **settings: Any) -> set[str]:
    """Names of the parameters that changed, after checking that the receipt covers them."""
    before = weights(subject)
    made = registry.intervention(method).configure("published", None, {**METHODS[method], **settings})
    receipt = subject.apply(made, CONTEXT)
    changed = differing(subject, before)
    assert changed
    assert changed <= set(receipt.changed)
    return changed


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_method_runs_on_every_architecture(kind: str, method: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    changed = apply(subject, method)
    root, paths = subject.paths.blocks, subject.paths
    if method.startswith("rmu"):
        assert changed == {f"{root}.{i}.{paths.mlp_out}.weight" for i in (1, 2)}
    else:
        assert all(name.startswith((f"{root}.{LAYERS - 2}.", f"{root}.{LAYERS - 1}.")) for name in changed)
    head, embeddings = subject.model.get_output_embeddings(), subject.model.get_input_embeddings()
    assert (head.weight is embeddings.weight) == tied


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_whole_models_train_with_a_frozen_copy(kind: str, tied: bool) -> None:
    """Every parameter trains, and the reference of the KL term is the model as it was."""
    subject = tiny(kind, tied=tied)
    changed = apply(subject, "npo_klr", last_layers=None)
    assert {name for name, _ in subject.linears()} <= {name.removesuffix(".weight") for name in changed}
    assert all(bool(torch.isfinite(value).all()) for value in subject.model.parameters())
