"""The text of a starter spec: a small sweep of some methods on a model, every key commented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from rayci import registry
from rayci.errors import RequestError
from rayci.intervention import Intervention
from rayci.kinds import Kind
from rayci.model.folder import TESTBED, check_name
from rayci.planning import spec as specs
from rayci.planning import yaml_source

_ON_TESTBED = ("ft", "wanda", "rtn", "gd")
_ON_A_MODEL = ("memit", "wanda", "awq", "rmu")
_SWEEPS = {"sparsity": "[0.25, 0.45, 0.65]", "bits": "[3, 4, 8]", "blocks": "[1, 2]", "epochs": "[0.25, 1, 4]"}
_WHAT = {Kind.EDIT: "edit", Kind.COMPRESS: "compress", Kind.UNLEARN: "unlearn", Kind.TRAIN: "train"}
_EDITED = ("edit_success", "edit_generalization", "edit_locality")
_COMPRESSED = ("sparsity", "avg_bits")
_HINT = 34
"""Column at which comments begin."""


def starter(model: str, methods: Sequence[str], file: str) -> str:
    """YAML that `rayci plan` accepts; without methods an editor, compressors and an unlearner.

    RequestError for what can be no model, and for a method that is not known, or needs more than a starter can guess.
    """
    check_name(model)
    chosen = methods or (_ON_TESTBED if model == TESTBED else _ON_A_MODEL)
    text = "\n".join(_lines(model, [registry.intervention(method) for method in chosen], file)) + "\n"
    spec = specs.from_source(yaml_source.parse(text, file))
    for method in spec.interventions:
        _refuse_without_folder(method, spec.configure(spec.variants(method)[0]))
    return text


def _refuse_without_folder(name: str, configured: Intervention) -> None:
    """A folder that a method must be given, and that its preset does not name, is not to be guessed."""
    for field in configured.folder_marks():
        if not getattr(configured, field):
            raise RequestError(
                f"{name} needs {field}, which a starter cannot guess",
                hint=f"the starter without {name}, then {name} with {field} in the file; rayci methods {name}",
            )


def _lines(model: str, methods: Sequence[type[Intervention]], file: str) -> Iterator[str]:
    kinds = {method.kind for method in methods}
    yield "# A sweep: every order of the methods below, measured after every step."
    yield f"#   rayci plan {file}     what it will run, and cost"
    if model != TESTBED:
        yield f"#   rayci data fetch {file}     its data and its model, before a cluster is paid for"
    yield f"#   rayci run {file}"
    yield ""
    key = yaml.safe_dump({"model": model}, allow_unicode=True, width=1 << 16).rstrip()
    yield _said(key, "testbed, a folder, or a hub id owner/name[@revision]")
    if model != TESTBED:
        yield _said("data: published", "of arXiv 2407.06483; or a folder, or part: source (rayci data SPEC)")
        yield _said("dtype: bfloat16", "weights and arithmetic of every stage")
    yield _said("replicates: 3", "edit batches; intervals begin at 3")
    yield _said("edit_batch: 50", "edits in a batch")
    yield ""
    yield _said("interventions:", "method: settings (rayci methods METHOD); an empty {} is its preset")
    yield from (_said(f"  {method.name}: {_settings(method)}", _WHAT[method.kind]) for method in methods)
    yield ""
    pairs = "none" if len(methods) == 1 else "across_kinds" if len(kinds) > 1 else "within_kinds"
    yield _said(f"compose: {{pairs: {pairs}, orders: both, singles: true}}", "triples: across_kinds for three steps")
    yield _said("recompress: refit", "compress, then edit: the compressor runs again; or reproject, or never")
    yield ""
    yield _said("criteria:", "rayci criteria lists them all")
    yield from (f"  - {name}" for name in _criteria(model, kinds))
    if model != TESTBED:
        yield ""
        yield "resources:"
        yield _said("  gpus: auto", "the share of a GPU that a trial's memory estimate asks for")
        yield _said("  gpu_memory: 80", "GiB of one GPU")
        yield _said("  gpu_hour_price: 2.0", "USD, for the estimate of rayci plan")


def _settings(method: type[Intervention]) -> str:
    name = method.strength.name if method.strength else ""
    return f"{{{name}: {{sweep: {_SWEEPS[name]}}}}}" if name in _SWEEPS else "{}"


def _criteria(model: str, kinds: set[Kind]) -> Iterator[str]:
    hazard, utility = ("hazard", "utility") if model == TESTBED else ("wmdp", "mmlu")
    yield from _EDITED if Kind.EDIT in kinds else ()
    yield from (hazard,) if Kind.UNLEARN in kinds else ()
    yield utility
    yield "perplexity" if model == TESTBED else "wikitext_ppl"
    yield from _COMPRESSED if Kind.COMPRESS in kinds else ()


def _said(text: str, hint: str) -> str:
    return f"{text:<{_HINT}}# {hint}" if len(text) < _HINT else f"{text}  # {hint}"
