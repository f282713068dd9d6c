"""The rules on `check`: it judges without touching the model, and where there are no weights yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rayci.conformance.bench import Snapshot, streams_used
from rayci.context import Context
from rayci.data.records import STANDS_IN
from rayci.errors import RequestError
from rayci.intervention import Intervention
from rayci.subject import Subject


class CheckRules:
    """The part of an intervention's suite that looks at what it refuses."""

    def make(self) -> Intervention:
        """The instance under test."""
        raise NotImplementedError

    def subject(self) -> Subject:
        """A fresh model that it fits."""
        raise NotImplementedError

    def context(self) -> Context:
        """Data that it fits."""
        raise NotImplementedError

    def test_what_fits_is_not_refused(self) -> None:
        """A fault ends a sweep before it starts."""
        for subject in self._with_and_without_weights():
            faults = self._faults(subject, self.context())
            where = "with its weights" if subject.has_weights else "before its weights are read"
            assert not faults, f"refused {where}: {faults[0]}"

    def test_checking_changes_nothing(self) -> None:
        """The whole chain is checked before its first step."""
        subject, streams = self.subject(), streams_used()
        before = Snapshot.of(subject)
        self._faults(subject, self.context())
        after = Snapshot.of(subject)
        touched = before.differing(after)
        assert not touched, f"the check changed {touched[:3]}"
        assert (after.flags, after.hooked) == (before.flags, before.hooked), "the check left flags or hooks"
        assert streams_used() == streams, "the check draws from a global random stream"

    def test_missing_data_is_a_fault_and_no_crash(self) -> None:
        """All that is wrong is told at once, so a check runs on data that lack a part as well."""
        made, context = self.make(), self.context()
        for part in sorted(made.needs):
            lacking: dict[str, Any] = {part: (), STANDS_IN.get(part, part): ()}
            without = replace(context, data=replace(context.data, **lacking))
            for subject in self._with_and_without_weights():
                assert self._faults(subject, without), f"not refused without {part}"

    def _with_and_without_weights(self) -> Iterator[Subject]:
        yield self.subject()
        subject = self.subject()
        subject.model.to("meta")  # type: ignore[arg-type]
        yield subject

    def _faults(self, subject: Subject, context: Context) -> list[RequestError]:
        try:
            faults = list(subject.faults(self.make(), context))
        except Exception as error:
            where = "" if subject.has_weights else " where there are no weights yet"
            raise AssertionError(f"check fails{where}: {error!r}") from error
        assert all(isinstance(fault, RequestError) for fault in faults), f"check yields {faults}"
        return faults
