"""A correct tiny pruner and variants that break one rule of compressors each."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rayci.context import Context
from rayci.intervention import DENSE_BITS, Compressor, Receipt
from rayci.kinds import Kind
from rayci.model import modules
from rayci.subject import Subject


class Halve(Compressor):
    """Zeroes the smaller half of every linear: keeps every rule."""

    name: ClassVar[str] = "halve"
    prunes: ClassVar[bool] = True
    seeded: ClassVar[bool] = False

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        kept = {}
        for name, module in subject.linears():
            weight = modules.weight(module)
            kept[name] = weight.abs() > weight.abs().median()
        return self.reproject(subject, Receipt(tuple(f"{name}.weight" for name in kept), kept=kept))

    @torch.no_grad()
    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        for name, module in subject.linears():
            modules.weight(module).mul_(receipt.kept[name])
        return receipt

    def kept_bytes(self, subject: Subject) -> int:
        return sum(module.weight.numel() for _, module in subject.linears())

    def nominal_bits(self) -> float:
        return 0.5 + 0.5 * DENSE_BITS

    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        return torch.where(weight == 0, 1.0, DENSE_BITS)


class ClaimsTooLittle(Halve):
    def nominal_bits(self) -> float:
        return 4.0


class TakesMore(Halve):
    def stored_share(self, bits: int, untouched: bool) -> float:
        return 0.5


class MeasuresNothing(Halve):
    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        return torch.full_like(weight, self.nominal_bits())


class NeverReprojects(Halve):
    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        kept = super().apply(subject, context).kept
        return Halve.reproject(self, subject, Receipt(tuple(f"{name}.weight" for name in kept), kept=kept))

    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        return receipt


class Shrinks(Halve):
    @torch.no_grad()
    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        again = super().reproject(subject, receipt)
        for _, module in subject.linears():
            modules.weight(module).mul_(0.9)
        return again


class KeepsInPython(Halve):
    @torch.no_grad()
    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        if "here" not in receipt.counts:  # only what is in `kept` comes back from the store
            modules.weight(next(subject.linears())[1]).zero_()
        return super().reproject(subject, receipt)

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        kept = {}
        for name, module in subject.linears():
            weight = modules.weight(module)
            kept[name] = weight.abs() > weight.abs().median()
        names = tuple(f"{name}.weight" for name in kept)
        return Halve.reproject(self, subject, Receipt(names, {"here": 1}, kept=kept))


class HidesReprojected(Halve):
    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        found = super().reproject(subject, receipt)
        return Receipt(found.changed[1:], kept=found.kept)

    def apply(self, subject: Subject, context: Context) -> Receipt:
        found = super().apply(subject, context)
        return Receipt(tuple(f"{name}.weight" for name in found.kept), kept=found.kept)


class ClaimsToPrune(Halve):
    @torch.no_grad()
    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        for name, module in subject.linears():
            weight = modules.weight(module)
            weight.copy_(torch.where(receipt.kept[name], weight, torch.full_like(weight, 1e-6)))
        return receipt

    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        return torch.where(weight == torch.tensor(1e-6), 1.0, DENSE_BITS)


class WrongKind(Halve):
    kind: ClassVar[Kind] = Kind.EDIT


COMPRESSORS: dict[type[Halve], set[str]] = {
    Halve: set(),
    ClaimsTooLittle: {"test_measured_bits_are_what_is_claimed"},
    TakesMore: {"test_stages_take_no_more_than_is_said"},
    MeasuresNothing: {"test_measured_bits_are_what_is_claimed"},
    NeverReprojects: {"test_reproject_brings_the_bits_back_after_an_edit"},
    Shrinks: {
        "test_reproject_changes_nothing_directly_after_apply",
        "test_reproject_brings_the_bits_back_after_an_edit",
    },
    KeepsInPython: {"test_reproject_works_from_a_stored_receipt"},
    HidesReprojected: {"test_reproject_brings_the_bits_back_after_an_edit"},
    ClaimsToPrune: {"test_pruners_make_zeros"},
    WrongKind: {"test_it_is_of_the_compressing_kind"},
}
"""Compressor -> exactly the rules that must reject it."""
