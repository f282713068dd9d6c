"""The protocol of an intervention: frozen, validated settings and one verb, `apply`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import ValidationError

from rayci.errors import RequestError, nearest
from rayci.kinds import Kind
from rayci.settings import Settings, settings_error

if TYPE_CHECKING:
    from torch import Tensor

    from rayci.context import Context
    from rayci.effort import Effort
    from rayci.subject import Subject
    from rayci.workload import Workload

Preset = Mapping[str, Any]

DENSE_BITS = 16.0
"""Bits of a weight that no compressor holds, as the literature counts them."""


@dataclass(frozen=True, slots=True)
class Strength:
    """The swept setting γ of an intervention."""

    name: str
    """Name of the settings field."""
    unit: str
    low: float
    high: float
    grid: tuple[float, ...] = ()
    """The values that the literature sweeps."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one application changed."""

    changed: tuple[str, ...]
    """Names of the changed parameters, as in `model.named_parameters()`; all others are bit for bit equal."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Steps, tokens, final losses and the like."""
    retries: tuple[str, ...] = ()
    """What had to be tried again, and how (a Hessian with ten times the damping, say)."""
    kept: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    """What a compressor needs to be applied again without calibration: masks, grids; what later steps of the chain
    read: keys of edits."""
    notes: tuple[str, ...] = ()
    """What was done otherwise than asked: text that stood in, fewer documents than the settings name."""


class Intervention(Settings, ABC):
    """Settings of one method; `apply` is called by `rayci.running.runner`, once per stage.

    A subclass declares the class variables below, one field per setting with a docstring
    under it (meaning, unit, source), and `apply`. Instances compare by value.
    """

    kind: ClassVar[Kind]
    paper: ClassVar[str] = ""
    """Where the method comes from, for listings: `arXiv 2306.11695 (2023)`."""
    strength: ClassVar[Strength | None] = None
    needs: ClassVar[frozenset[str]] = frozenset()
    """Parts of `rayci.data.records.Collection` that `apply` reads."""
    keeps_values: ClassVar[bool] = False
    """Whether each weight is what it was or 0 afterwards."""
    seeded: ClassVar[bool] = True
    """Whether `apply` draws random numbers; if not, seeds share the stage."""
    presets: ClassVar[Mapping[str, Preset]] = {}
    """Named settings; the fields' defaults are the preset `published`."""
    gradients: ClassVar[bool] = True
    """Whether `apply` differentiates through the model, which then must fit on the device as a whole."""
    builds: ClassVar[bool] = False
    """Whether `apply` asks for `Context.built`: one trial then goes first, and others that start from the same stage
    wait for what it leaves, holding no resources."""
    no_experts: ClassVar[str] = ""
    """Why the method does not work where a router picks experts; empty where it does."""

    @abstractmethod
    def apply(self, subject: Subject, context: Context) -> Receipt:
        """Change `subject.model` in place and say what changed.

        Called through `Subject.apply` with the model in eval mode; must leave dtypes as found
        (mode, `use_cache` and `requires_grad` are put back for it). Raises InterventionError where
        the method fails; bad input is what `check` has found before.
        """

    def check(self, subject: Subject, context: Context) -> Iterable[RequestError]:
        """Every fault of settings, model and data that can be known before a weight is touched.

        Called through `Subject.faults`, which finds parts of the data that are missing, routed experts
        and gradients that do not fit. Runs for the whole chain before its first step, so it must not
        depend on what earlier steps do, and before there are weights: then they have shapes alone
        (`subject.has_weights`), and there may be no tokenizer (`subject.has_tokenizer`).
        """
        return ()

    @property
    def reads_base(self) -> bool:
        """Whether `apply` reads the untouched weights, which then are kept where steps come before it."""
        return False

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """Names of the parameters that `apply` will change, at most; `subject` may be one without weights.

        A method that does not say may change everything in the decoder blocks.
        """
        root = f"{subject.paths.blocks}."
        return tuple(name for name, _ in subject.model.named_parameters() if name.startswith(root))

    def kept_bytes(self, subject: Subject) -> int:
        """Bytes of `Receipt.kept` at most, told from the subject's shapes."""
        return 0

    def kept_of_edits(self, work: Workload) -> int:
        """Bytes of what `Receipt.kept` holds of an edit batch at most, beside `kept_bytes`."""
        return 0

    def stored_share(self, bits: int, untouched: bool) -> float:
        """What the weights of linears take in the stage store once `apply` has changed them, beside `Receipt.kept`,
        as a share of what they take with `bits` each.

        `untouched`: each of them was the untouched model's or 0. See `rayci.codec.exact_forms`.
        """
        return 1.0

    def built_bytes(self, work: Workload) -> int:
        """Bytes of what `apply` leaves with `Context.built` at most; above 0 where it `builds`."""
        return 0

    def operations(self, work: Workload) -> Effort | float:
        """Floating-point operations of `apply`, for the forecast's hours: a number, or what else it takes as well.

        A method that does not say: one pass over the data that it needs, and back if it takes gradients.
        """
        tokens = sum(work.tokens(part) for part in self.needs)
        if self.gradients:
            return work.pass_operations() + work.training_operations(tokens, work.changed_by(self))
        return work.pass_operations() + work.forward_operations(tokens)

    def memory(self, work: Workload) -> int:
        """Bytes that `apply` takes on the device beyond the model's weights, at most.

        A method that does not say: training of what it changes, as `Trainer` does it, or a forward pass if it takes no
        gradients.
        """
        if self.gradients:
            return work.training_bytes(work.changed_by(self))
        return max(work.pass_bytes(), work.reading_bytes() if self.needs else 0)

    def host_memory(self, work: Workload) -> int:
        """Bytes that `apply` keeps in host memory beside a GPU, at most; beside a CPU they are part of `memory`."""
        return 0

    @classmethod
    def configure(
        cls, preset: str | Preset = "published", strength: float | str | None = None, settings: Preset | None = None
    ) -> Self:
        """Settings from preset (a name or the values themselves), explicit settings and γ, the later ones winning.

        Raises RequestError naming the first bad key or value, and for a setting that is given
        although the others make it void.
        """
        configured = cls.assembled(preset, strength, settings)
        void = configured.void_settings()
        for key, value in (settings or {}).items():
            if key in void:
                raise cls.unread(key, value, void[key])
        return configured

    @classmethod
    def assembled(
        cls, preset: str | Preset = "published", strength: float | str | None = None, settings: Preset | None = None
    ) -> Self:
        """The same as `configure`, whether or not a setting that is given is void."""
        given = dict(settings or {})
        for key in given:
            if key not in cls.model_fields:
                raise RequestError(
                    f"{cls.name} has no setting {key!r}",
                    allowed=", ".join(cls.model_fields) or "no settings",
                    hint=nearest(key, cls.model_fields),
                    key=(key,),
                )
        from_strength = cls.from_strength(strength)
        for key in given.keys() & from_strength.keys():
            raise RequestError(
                f"{cls.name}: {key} is given twice, as @{strength} and as {given[key]!r}",
                hint=f"leave {key} out, or @{strength}",
                key=(key,),
            )
        values = cls.presets.get(preset, {}) if isinstance(preset, str) else preset
        try:
            return cls.model_validate({**values, **given, **from_strength})
        except ValidationError as error:
            raise cls._unfit(error) from None

    @classmethod
    def unread(cls, key: str, value: Any, reason: str) -> RequestError:
        """The refusal of a setting that is given although it is void."""
        problem = f"{cls.name}: {key} = {value!r} changes nothing: {reason}"
        return RequestError(problem, hint=f"leave {key} out", key=(key,))

    def void_settings(self) -> Mapping[str, str]:
        """Settings that the others leave without any effect, each with the reason.

        `configure` refuses them where a user gives them; a default or a preset may hold them.
        """
        return {}

    @classmethod
    def _unfit(cls, error: ValidationError) -> RequestError:
        """The first problem of a pydantic error, with the range of γ and the way to write a sweep."""
        problem = error.errors()[0]
        gamma = cls.strength if cls.strength and problem["loc"][:1] == (cls.strength.name,) else None
        least = "above " if problem["type"] == "greater_than" else ""
        allowed = f"{least}{gamma.low:g} to {gamma.high:g} {gamma.unit}" if gamma else None
        listed = problem["type"] in ("too_long", "too_short")  # the setting takes a list, of another length
        several = isinstance(problem["input"], (list, dict)) and len(problem["loc"]) == 1 and not listed
        hint = sweep_hint(str(problem["loc"][0]), problem["input"]) if several else f"rayci methods {cls.name}"
        return settings_error(cls.name, error, allowed=allowed, hint=hint)

    @classmethod
    def from_strength(cls, strength: float | str | None) -> dict[str, Any]:
        """The settings that `name@strength` stands for."""
        if strength is None:
            return {}
        if cls.strength is None:
            raise RequestError(
                f"{cls.name} has no strength, {strength!r} was given", hint=f"{cls.name} without @{strength}"
            )
        return {cls.strength.name: strength}

    @property
    def gamma(self) -> float | None:
        """The value of γ, or None for a method without one."""
        return None if self.strength is None else float(getattr(self, self.strength.name))

    @property
    def asked_at(self) -> float | str | None:
        """What stands behind the `@` of the step: γ, or a word that says γ and more."""
        return self.gamma


@dataclass(frozen=True, slots=True)
class Applied:
    """One step that has been applied, with its receipt."""

    intervention: Intervention
    receipt: Receipt
    recompression: str | None = None
    """`refit` or `reproject` where the step is the re-compression of an earlier one."""

    def __str__(self) -> str:
        """`wanda@0.5`, or `refit(wanda@0.5)`."""
        asked = self.intervention.asked_at
        said = asked if isinstance(asked, str) else f"{asked:g}" if asked is not None else None
        name = self.intervention.name if said is None else f"{self.intervention.name}@{said}"
        return f"{self.recompression}({name})" if self.recompression else name

    def is_of(self, intervention: Intervention) -> bool:
        """Whether the step did the same as this, be it at another speed: with smaller batches, say."""
        own = self.intervention
        return own.name == intervention.name and own.effective() == intervention.effective()


class Compressor(Intervention):
    """An intervention whose effect a later edit undoes, so that it may have to be applied again."""

    kind: ClassVar[Kind] = Kind.COMPRESS
    gradients: ClassVar[bool] = False
    prunes: ClassVar[bool] = False
    """Whether it makes exact zeros, which a later quantiser should keep."""

    @abstractmethod
    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        """Put the weights back on the mask or grid in `receipt.kept`, without calibration."""

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """Every linear in the decoder blocks."""
        return subject.weight_names()

    def kept_bytes(self, subject: Subject) -> int:
        """A mask's: a bit for every weight of a linear."""
        return sum(-(-linear.weight.numel() // 8) for _, linear in subject.linears())

    @abstractmethod
    def nominal_bits(self) -> float:
        """Average bits per weight that the settings claim (group scales count 32 bits a group)."""

    def dropped_share(self, subject: Subject, receipt: Receipt) -> float:
        """Share of the linears' weights that it took out of the model; of the others it claims `nominal_bits`."""
        return 0.0

    def claimed_bits(self, subject: Subject) -> float:
        """`nominal_bits`, with what depends on the shapes of the subject's linears."""
        return self.nominal_bits()

    @abstractmethod
    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        """Bits of every weight `[out, in]` as it is now: what `nominal_bits` claims where the
        weight still is on the mask or grid in `receipt.kept`, `DENSE_BITS` elsewhere."""


def sweep_hint(key: str, value: object) -> str:
    """How a spec tries several values of a setting."""
    return f"{key}: {{sweep: {value if isinstance(value, list) else '[…]'}}}"
