"""Names of interventions and criteria: built-ins, loaded on first use, and entry points.

A plug-in registers a class under the entry-point group `rayci.interventions` or
`rayci.criteria`; the entry point's name is the name used in specs.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rayci.criterion import Criterion
from rayci.errors import RequestError, nearest
from rayci.intervention import Intervention
from rayci.settings import Settings

INTERVENTIONS = {
    "ft": "rayci.interventions.editing.finetuning:FineTuning",
    "lora": "rayci.interventions.editing.lora:LowRank",
    "memit": "rayci.interventions.editing.memit:Memit",
    "alphaedit": "rayci.interventions.editing.alphaedit:AlphaEdit",
    "emmet": "rayci.interventions.editing.emmet:Emmet",
    "rome": "rayci.interventions.editing.rome:Rome",
    "wanda": "rayci.interventions.compression.wanda:Wanda",
    "sparsegpt": "rayci.interventions.compression.sparsegpt:SparseGPT",
    "magnitude": "rayci.interventions.compression.magnitude:Magnitude",
    "gptq": "rayci.interventions.compression.gptq:GPTQ",
    "awq": "rayci.interventions.compression.awq:AWQ",
    "rtn": "rayci.interventions.compression.rtn:RoundToNearest",
    "hqq": "rayci.interventions.compression.hqq:HalfQuadratic",
    "layerdrop": "rayci.interventions.compression.layerdrop:LayerDrop",
    "ga": "rayci.interventions.unlearning.gradient:GradientAscent",
    "gd": "rayci.interventions.unlearning.gradient:GradientDifference",
    "ga_klr": "rayci.interventions.unlearning.gradient:GradientAscentKL",
    "npo": "rayci.interventions.unlearning.npo:NegativePreference",
    "npo_gdr": "rayci.interventions.unlearning.npo:NegativePreferenceDescent",
    "npo_klr": "rayci.interventions.unlearning.npo:NegativePreferenceKL",
    "simnpo": "rayci.interventions.unlearning.simnpo:SimpleNegativePreference",
    "undial": "rayci.interventions.unlearning.undial:SelfDistillation",
    "wga": "rayci.interventions.unlearning.wga:WeightedAscent",
    "satimp": "rayci.interventions.unlearning.satimp:SaturationImportance",
    "rmu": "rayci.interventions.unlearning.rmu:RepresentationMisdirection",
    "rmu_lat": "rayci.interventions.unlearning.latent:LatentAdversarialMisdirection",
    "sure": "rayci.interventions.unlearning.sure:Sure",
    "refusal": "rayci.interventions.unlearning.refusal:Refusal",
    "task_vector": "rayci.interventions.unlearning.task_vector:TaskVector",
    "retrain": "rayci.interventions.unlearning.retrain:Retrain",
    "finetune": "rayci.interventions.training.finetune:Finetune",
    "relearn": "rayci.interventions.training.finetune:Relearn",
    "delta": "rayci.interventions.training.delta:Delta",
    "ties": "rayci.interventions.training.ties:Ties",
    "dare": "rayci.interventions.training.dare:Dare",
}

CRITERIA = {
    "edit_success": "rayci.criteria.editing:EditSuccess",
    "edit_generalization": "rayci.criteria.editing:EditGeneralization",
    "edit_locality": "rayci.criteria.editing:EditLocality",
    "edit_locality_agreement": "rayci.criteria.editing:EditLocalityAgreement",
    "edit_portability": "rayci.criteria.editing:EditPortability",
    "edit_exact_match": "rayci.criteria.editing_unaided:EditExactMatch",
    "edit_natural_stop": "rayci.criteria.editing_unaided:EditNaturalStop",
    "hazard": "rayci.criteria.choices:Hazard",
    "utility": "rayci.criteria.choices:Utility",
    "wmdp": "rayci.criteria.knowledge:Wmdp",
    "wmdp_bio": "rayci.criteria.knowledge:WmdpBio",
    "wmdp_cyber": "rayci.criteria.knowledge:WmdpCyber",
    "mmlu": "rayci.criteria.knowledge:Mmlu",
    "flips": "rayci.criteria.flips:Flips",
    "truthfulqa_mc1": "rayci.criteria.truthful:TruthfulChoice",
    "edit_nll": "rayci.criteria.edit_likelihood:EditLoss",
    "edit_teacher_forced": "rayci.criteria.edit_likelihood:EditTeacherForced",
    "nll_ratio": "rayci.criteria.edit_likelihood:LossRatio",
    "perplexity": "rayci.criteria.perplexity:Perplexity",
    "wikitext_ppl": "rayci.criteria.perplexity:WikitextPerplexity",
    "general_nll": "rayci.criteria.perplexity:GeneralLoss",
    "kl_to_base": "rayci.criteria.divergence:Divergence",
    "sparsity": "rayci.criteria.cost:Sparsity",
    "avg_bits": "rayci.criteria.cost:AverageBits",
    "avg_bits_nominal": "rayci.criteria.cost:NominalBits",
    "flops": "rayci.criteria.cost:Operations",
    "params_changed": "rayci.criteria.cost:ParametersChanged",
    "latency": "rayci.criteria.device_run:Latency",
    "peak_memory": "rayci.criteria.device_run:PeakBytes",
    "update_survival": "rayci.criteria.update_survival:UpdateSurvival",
    "verbmem": "rayci.criteria.memorization:VerbatimMemorization",
    "knowmem_forget": "rayci.criteria.memorization:ForgottenKnowledge",
    "knowmem_retain": "rayci.criteria.memorization:RetainedKnowledge",
    "privleak": "rayci.criteria.leakage:PrivacyLeakage",
    "triviaqa_f1": "rayci.criteria.trivia:TriviaAnswers",
    "fluency": "rayci.criteria.fluency:Fluency",
    "rwku_fb": "rayci.criteria.probes:FilledBlanks",
    "rwku_qa": "rayci.criteria.probes:AnsweredQuestions",
    "rwku_aa": "rayci.criteria.probes:AdversarialAnswers",
    "forget_recall": "rayci.criteria.recall:ForgetRecall",
    "retain_recall": "rayci.criteria.recall:RetainRecall",
}

FAMILIES = {"lm_eval": "rayci.criteria.harness.harness_task:of_name"}
"""Criteria of which there is one for every name after a colon: what stands before it -> the function of that name."""


def interventions() -> list[str]:
    """All known intervention names, plug-ins included, sorted."""
    return sorted({*INTERVENTIONS, *_plugins("rayci.interventions")})


def criteria() -> list[str]:
    """All known criterion names, plug-ins included, sorted; of a family `lm_eval:<task>` for all of its names."""
    return sorted({*CRITERIA, *_plugins("rayci.criteria"), *_families()})


def _families() -> list[str]:
    return [f"{family}:<task>" for family in FAMILIES]


def intervention(name: str) -> type[Intervention]:
    """The class of that name; RequestError with the nearest name where there is none."""
    cls = _load(name, "rayci.interventions", INTERVENTIONS)
    if not (isinstance(cls, type) and issubclass(cls, Intervention)):
        raise RequestError(f"{name!r} is {cls!r}", allowed="a subclass of rayci.intervention.Intervention")
    _refuse_another_name(cls, name)
    return cls


def criterion(name: str) -> type[Criterion]:
    """The class of that name; RequestError with the nearest name where there is none.

    Whether a family has a criterion of the name is seen where its settings are validated.
    """
    family, _, member = name.partition(":")
    if family in FAMILIES and member:
        made: type[Criterion] = _imported(FAMILIES[family])(member)
        return made
    cls = _load(name, "rayci.criteria", CRITERIA)
    if not (isinstance(cls, type) and issubclass(cls, Criterion)):
        raise RequestError(f"{name!r} is {cls!r}", allowed="a subclass of rayci.criterion.Criterion")
    _refuse_another_name(cls, name)
    return cls


def _refuse_another_name(cls: type[Settings], name: str) -> None:
    """A method is identified by the name of its class: under two names it would take another one's stages."""
    own = getattr(cls, "name", None)
    if own != name:
        raise RequestError(
            f"{name!r} calls itself {own!r}", hint=f"`name = {name!r}` in {cls.__name__}, as its entry point says"
        )


def _load(name: str, group: str, built_in: dict[str, str]) -> Any:
    plugins = _plugins(group).get(name, ())
    word = group.removeprefix("rayci.").removesuffix("s").replace("criteria", "criterion")
    if len(plugins) + (name in built_in) > 1:
        packages = [_package(point) for point in plugins] + (["rayci"] if name in built_in else [])
        raise RequestError(
            f"{word} {name!r} is registered more than once: {', '.join(sorted(packages))}",
            hint="uninstall one of these packages",
        )
    if plugins:
        try:
            return plugins[0].load()
        except (Exception, SystemExit) as error:  # a script among them ends where it is imported
            raise RequestError(
                f"{word} {name!r} of package {_package(plugins[0])} does not import: {type(error).__name__}: {error}",
                hint=f"reinstall or uninstall {_package(plugins[0])}",
            ) from error
    if name in built_in:
        return _imported(built_in[name])
    known = sorted({*built_in, *_plugins(group), *(_families() if built_in is CRITERIA else ())})
    raise RequestError(f"no {word} {name!r}", allowed=", ".join(known), hint=nearest(name, known))


def _imported(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def _plugins(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    points: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        points[point.name] = (*points.get(point.name, ()), point)
    return points


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module
