"""SURE: another unlearning method, confined to the modules that matter most to its forget loss.

    s_i = ‖∇_{θ_i} L_forget‖_F before training;  trained: modules with s_i ≥ percentile γ of all s

arXiv 2410.16454. A module is one linear (with its bias, where the wrapped method trains
it) among the parameters that the wrapped method trains; L_forget is the mean over the batches of
one pass of its forget loss. The percentile interpolates linearly between the s_i. Chosen modules
are trained by the wrapped method with a large learning rate, all else is untouched bit for bit; under its
`parametrisation: lora` they move by low-rank updates.
The presets hold the published α and γ of each wrapped method, on top of its own settings on MUSE,
on which that paper works; `published` is NEWS. A method without settings on MUSE keeps its own.
Deviation: the authors' code computed the mask and never applied it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import torch
from pydantic import Field, ValidationInfo, field_validator

from rayci import registry
from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import InterventionError, RequestError
from rayci.intervention import Intervention, Preset, Receipt, Strength
from rayci.interventions.gradients import Gradients
from rayci.interventions.trainer import MICRO_TOKENS, MicroTokens
from rayci.interventions.unlearning.method import Training, Unlearner
from rayci.kinds import Kind
from rayci.model.modules import weight
from rayci.model.step_memory import Storage
from rayci.settings import Needs
from rayci.subject import Subject
from rayci.workload import Workload


class Tuned(NamedTuple):
    """What the paper chose for one wrapped method."""

    alpha: float
    percentile: float


_TUNED: Mapping[str, Mapping[str, Tuned]] = {
    "muse_news": {
        "gd": Tuned(50.0, 95.0),
        "ga_klr": Tuned(10.0, 90.0),
        "npo_gdr": Tuned(50.0, 95.0),
        "npo_klr": Tuned(10.0, 90.0),
    },
    "muse_books": {
        "gd": Tuned(400.0, 99.0),
        "ga_klr": Tuned(20.0, 90.0),
        "npo_gdr": Tuned(300.0, 99.0),
        "npo_klr": Tuned(20.0, 90.0),
    },
}
"""Preset -> wrapped method -> α and γ, as published."""
_OWN = ("lr", "storage", "micro_tokens")
"""Settings of the wrapped method that SURE's own take the place of."""


def salient(scores: Mapping[str, float], percentile: float) -> list[str]:
    """Names whose score reaches the percentile of all scores; one that the loss does not reach never does."""
    threshold = torch.quantile(torch.tensor(list(scores.values()), dtype=torch.float64), percentile / 100)
    return [name for name, score in scores.items() if score >= float(threshold) and score > 0]


def saliency(subject: Subject, training: Training, modules: Mapping[str, list[str]]) -> dict[str, float]:
    """Module -> Frobenius norm of the gradient of the mean forget loss in its parameters."""
    weights = subject.parameters_of(name for names in modules.values() for name in names)
    for name, parameter in subject.model.named_parameters():
        parameter.requires_grad_(name in weights)
        parameter.grad = None
    with Gradients(weights) as gradients:
        batches = training.forget_gradients()
        squares = {name: float(value.double().square().sum()) for name, value in gradients.take().items()}
    return {module: sum(squares.get(name, 0.0) for name in names) ** 0.5 / batches for module, names in modules.items()}


def trained_modules(subject: Subject, training: Training) -> dict[str, list[str]]:
    """Every linear whose weight the training would change, with the names of its parameters in it."""
    trained = set(training.names)
    modules = {}
    for linear, _ in subject.linears():
        inside = [name for name in (f"{linear}.weight", f"{linear}.bias") if name in trained]
        if f"{linear}.weight" in inside:
            modules[linear] = inside
    return modules


def wrapped(method: str) -> type[Unlearner]:
    """The class of a method that SURE can wrap; RequestError for any other name."""
    named = registry.intervention(method)
    if not issubclass(named, Unlearner):
        raise RequestError(f"sure cannot wrap {method}", allowed="an unlearning method that trains weights")
    return named


def inherited(preset: str, method: str) -> dict[str, Any]:
    """Every setting of the wrapped method under a preset of SURE, but for those in `_OWN`."""
    source, tuned, inner = _source(preset), _tuned(preset, method), wrapped(method)
    settings = {"alpha": tuned.alpha} if tuned else {}
    configured = inner.configure(source if source in inner.presets else "published", settings=settings)
    return configured.model_dump(mode="json", exclude=set(_OWN) | configured.unmentioned())


def _checked(method: str, base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a wrapped method over those that they inherit; RequestError as if the method stood alone."""
    try:
        wrapped(method).configure(base, settings={key: value for key, value in settings.items() if key not in _OWN})
    except RequestError as error:
        raise RequestError(
            f"sure: settings: {error.problem}",
            allowed=error.allowed,
            hint=error.hint,
            key=("settings", *error.key),
        ) from None
    return {**base, **settings}


class Sure(Intervention):
    """Another unlearning method on the most salient modules alone, with a large learning rate."""

    name: ClassVar[str] = "sure"
    paper: ClassVar[str] = "arXiv 2410.16454 (2024)"
    version: ClassVar[int] = 2
    kind: ClassVar[Kind] = Kind.UNLEARN
    parts: ClassVar[frozenset[str]] = frozenset({"forget"})
    no_experts: ClassVar[str] = (
        "it chooses single linears, and the weights of all experts are one parameter that trains as a whole"
    )
    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]
    strength: ClassVar[Strength | None] = Strength("percentile", "percentile of saliency", 0, 100, (50, 90, 95, 99))
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {"lr": 3e-3, "percentile": 70.0, "storage": "float32"},
        "muse_news": {},
        "muse_books": {},
    }

    method: str = "npo_klr"
    """Name of the wrapped unlearning method."""
    settings: dict[str, Any] = Field(default={}, validate_default=True)
    """Settings of the wrapped method but `lr`, `storage` and `micro_tokens`; what is not given is as in the preset."""
    percentile: Annotated[float, Field(ge=0, le=100)] = 90.0
    """γ: modules below this percentile of saliency stay untouched."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate of the chosen modules, constant; the literature tries 5e-5 to 2e-4."""
    storage: Storage = "bfloat16"
    """Precision of the chosen modules' weights between steps."""
    micro_tokens: MicroTokens = MICRO_TOKENS
    """Most tokens, padding included, of a batch that go forward and back at a time; one item does in any case.
    The gradient is that of the batch."""

    @field_validator("method")
    @classmethod
    def _wrappable(cls, method: str) -> str:
        try:
            return wrapped(method).name
        except RequestError as error:
            raise ValueError(_sentence(error)) from None

    @field_validator("settings")
    @classmethod
    def _in_full(cls, settings: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Every setting of the wrapped method, so that the fingerprint holds those in force."""
        if "method" not in info.data:
            return settings
        method = info.data["method"]
        for key in _OWN:
            if key in settings:
                raise ValueError(f"{key} of {method} is sure's own setting {key}")
        try:
            inner = wrapped(method).configure({**inherited("published", method), **settings})
        except RequestError as error:
            raise ValueError(_sentence(error)) from None
        return inner.model_dump(mode="json", exclude=set(_OWN) | inner.unmentioned())

    @classmethod
    def configure(
        cls, preset: str | Preset = "published", strength: float | str | None = None, settings: Preset | None = None
    ) -> Self:
        """As for any method; the preset also fills the wrapped method's settings and their published α and γ."""
        chosen = dict(settings or {})
        method = chosen.get("method", cls.model_fields["method"].default)
        nested = chosen.get("settings", {})
        name = preset if isinstance(preset, str) else "published"
        if isinstance(method, str) and isinstance(nested, Mapping):
            chosen["settings"] = _checked(method, inherited(name, method), nested)
            if strength is None and (tuned := _tuned(name, method)):
                chosen.setdefault("percentile", tuned.percentile)
        return super().configure(preset, strength, chosen)

    @property
    def inner(self) -> Unlearner:
        """The wrapped method with the settings in force."""
        return wrapped(self.method).configure({**self.settings, **{name: getattr(self, name) for name in _OWN}})

    def wraps(self) -> tuple[Unlearner]:
        """The wrapped method, whose version counts as much as its settings."""
        return (self.inner,)

    def reads(self) -> frozenset[str]:
        """Parts of the data that the wrapped method reads."""
        return self.inner.reads()

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """At most what `apply` will change: the largest of as many linears as pass the percentile."""
        sizes = {name: weight(module).numel() for name, module in subject.linears()}
        count = math.ceil(len(sizes) * (1 - self.percentile / 100)) or 1
        return subject.weight_names(sorted(sizes, key=sizes.__getitem__, reverse=True)[:count])

    def operations(self, work: Workload) -> Effort:
        return Effort.of(self.inner.operations(work))

    def memory(self, work: Workload) -> int:
        """Training of the chosen linears, or before it the gradients of all that the wrapped method would train."""
        inner = self.inner
        names, tokens = work.changed_by(inner), inner.forget_tokens(work)
        passing = work.backward_bytes(tokens, work.blocks_above(names)) + work.scored_bytes(tokens, inner.distributions)
        saliency = 4 * work.most_elements(names) + passing + (8 + 2 * work.element) * work.largest
        return max(inner.training_memory(inner.as_trained(work), work.changed_by(self)), saliency)

    def host_memory(self, work: Workload) -> int:
        inner = self.inner
        return inner.waiting_memory(inner.as_trained(work), work.changed_by(self))

    def check(self, subject: Subject, context: Context) -> Iterable[RequestError]:
        return self.inner.check(subject, context)

    def apply(self, subject: Subject, context: Context) -> Receipt:
        inner = self.inner
        training = inner.prepare(subject, context)
        modules = trained_modules(subject, training)
        chosen = salient(saliency(subject, training, modules), self.percentile)
        if not chosen:
            raise InterventionError("sure: the forget loss has no gradient in any linear")
        names = [name for module in chosen for name in modules[module]]
        with inner.trainer(subject, context, names) as trainer:
            counts = training.run(trainer)
        return trainer.receipt(**counts, modules=len(chosen), candidates=len(modules))


def _source(preset: str) -> str:
    """The preset of the wrapped method that belongs to one of SURE's."""
    return "muse_news" if preset == "published" else preset


def _tuned(preset: str, method: str) -> Tuned | None:
    return _TUNED.get(_source(preset), {}).get(method)


def _sentence(error: RequestError) -> str:
    return f"{error.problem} (try {error.hint})" if error.hint else error.problem
