"""The further rules of a compressor: re-compression and the bits that it claims."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from safetensors.torch import load, save

from rayci.codec.exact_forms import Packed
from rayci.conformance.bench import Snapshot, once_a_class
from rayci.conformance.interventions import InterventionConformance
from rayci.intervention import Compressor, Receipt
from rayci.kinds import Kind
from rayci.model import modules
from rayci.subject import Subject


class CompressorConformance(InterventionConformance):
    """`InterventionConformance` and what `reproject`, `claimed_bits` and `measured_bits` promise."""

    bits_tolerance: ClassVar[float] = 0.02
    """Relative gap that rounding of counts may leave between measured and claimed bits."""

    def make(self) -> Compressor:
        """The compressor under test, with settings that keep it quick."""
        raise NotImplementedError(f"{type(self).__name__} must define make()")

    def compressed(self) -> tuple[Subject, Compressor, Receipt]:
        """A subject of its own that the compressor was applied to."""
        subject = copy.deepcopy(self._compressed())
        return subject, self.make(), subject.receipts[-1]

    @once_a_class
    def _compressed(self) -> Subject:
        subject = self.subject()
        subject.apply(self.make(), self.context())
        return subject

    @torch.no_grad()
    def edited(self, subject: Subject) -> None:
        """Make every linear dense, as an edit would."""
        generator = torch.Generator().manual_seed(0)
        for _, module in subject.linears():
            noise = torch.randn(module.weight.shape, generator=generator).to(module.weight)
            module.weight.add_(noise * module.weight.std().clamp(min=1e-2) * 0.1)  # of zeros, too

    def measured(self, subject: Subject, made: Compressor, receipt: Receipt) -> float:
        """Mean of `measured_bits` over all linears."""
        bits = [made.measured_bits(name, modules.weight(m), receipt).flatten() for name, m in subject.linears()]
        return float(torch.cat(bits).double().mean())

    def test_it_is_of_the_compressing_kind(self) -> None:
        """Plans re-compress what is declared as compression."""
        assert self.make().kind is Kind.COMPRESS, f"kind is {self.make().kind}"

    def test_pruners_make_zeros(self) -> None:
        """`prunes` makes later quantisers keep exact zeros."""
        subject, made, _ = self.compressed()
        if made.prunes:
            zeros = sum(int((module.weight == 0).sum()) for _, module in subject.linears())
            assert zeros, "prunes = True, but there are no zeros"

    def test_measured_bits_are_what_is_claimed(self) -> None:
        """Directly after `apply`, and more after an edit."""
        subject, made, receipt = self.compressed()
        for name, module in subject.linears():
            weight = modules.weight(module)
            shape = made.measured_bits(name, weight, receipt).shape
            assert shape == weight.shape, f"measured_bits of {name} has shape {tuple(shape)}"
        claimed = (1 - made.dropped_share(subject, receipt)) * made.claimed_bits(subject)
        measured = self.measured(subject, made, receipt)
        assert abs(measured - claimed) <= self.bits_tolerance * claimed, (
            f"claims {claimed:g} bits, measured {measured:g}"
        )
        self.edited(subject)
        dense = self.measured(subject, made, receipt)
        assert dense > measured, f"after an edit of all weights still {dense:g} bits"

    def test_stages_take_no_more_than_is_said(self) -> None:
        """`stored_share` and `keeps_values` tell the forecast what a stage takes on disk."""
        subject, made, receipt = self.compressed()
        names = subject.weight_names()
        weights = subject.matrices(subject.parameters_of(names))
        base = subject.matrices(self.subject().parameters_of(names))
        taken = sum(value.nbytes for value in Packed.of(weights, base, [receipt.kept]).tensors.values())
        said = made.stored_share(8 * subject.model.dtype.itemsize, untouched=True)
        share = taken / sum(value.nbytes for value in weights.values())
        assert share <= said * (1 + self.bits_tolerance), f"takes {share:.3f} of a dense stage, said {said:.3f}"

    def test_reproject_changes_nothing_directly_after_apply(self) -> None:
        """The weights are on the mask or grid already."""
        subject, made, receipt = self.compressed()
        before = Snapshot.of(subject)
        made.reproject(subject, receipt)
        moved = before.distance(Snapshot.of(subject))
        assert moved == 0, f"reproject moved {moved:.2%} of the weights"

    def test_reproject_brings_the_bits_back_after_an_edit(self) -> None:
        """And a second time changes nothing; the receipt names all that changed."""
        subject, made, receipt = self.compressed()
        claimed = self.measured(subject, made, receipt)
        self.edited(subject)
        dense = Snapshot.of(subject)
        again = subject.apply(made, self.context(), "reproject")
        once = Snapshot.of(subject)
        hidden = set(dense.differing(once)) - set(again.changed)
        assert not hidden, f"changed, but not in the receipt of reproject: {sorted(hidden)}"
        back = self.measured(subject, made, again)
        assert back <= claimed * (1 + self.bits_tolerance), f"{claimed:g} bits before the edit, {back:g} after"
        subject.apply(made, self.context(), "reproject")
        twice = once.differing(Snapshot.of(subject))
        assert not twice, f"a second reproject changes {twice[:3]}"

    def test_reproject_works_from_a_stored_receipt(self) -> None:
        """Masks and grids go through a safetensors file."""
        results = []
        for stored in (False, True):
            subject, made, receipt = self.compressed()
            self.edited(subject)
            kept = {name: value.contiguous() for name, value in receipt.kept.items()}
            made.reproject(subject, Receipt(receipt.changed, kept=load(save(kept))) if stored else receipt)
            results.append(Snapshot.of(subject))
        assert not results[0].differing(results[1]), "a stored receipt gives other weights"
