"""Rules on the settings of an intervention or criterion, whatever it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from rayci.criterion import Criterion
from rayci.fingerprint import canonical_json
from rayci.intervention import Intervention

S = TypeVar("S", Intervention, Criterion)


def with_value(settings: S, field: str, value: Any) -> S:
    """The settings with another value of one field; a whole instance stands for itself."""
    if isinstance(value, type(settings)):
        return value
    return type(settings).model_validate({**settings.model_dump(), field: value})


class SettingsRules:
    """The part of both suites that looks at settings alone."""

    other_values: ClassVar[Mapping[str, Any]] = {}
    """For every setting a valid value other than the one in `make()`; where fields can only
    change together, a whole instance."""
    unread: ClassVar[Mapping[str, str]] = {}
    """Settings that cannot change the result on this subject, each with the reason; those of
    `void_settings`, void on any subject, need not be listed."""

    def make(self) -> Any:
        """The instance under test, with settings that keep it quick."""
        raise NotImplementedError(f"{type(self).__name__} must define make()")

    def test_every_setting_has_another_value(self) -> None:
        """Without one, no rule can tell whether a setting is read."""
        made = self.make()
        known = set(type(made).model_fields)
        void = made.void_settings().keys() if isinstance(made, Intervention) else set()
        missing = known - self.other_values.keys() - self.unread.keys() - void
        assert not missing, f"other_values lacks {sorted(missing)}"
        strange = (self.other_values.keys() | self.unread.keys()) - known
        assert not strange, f"there are no settings {sorted(strange)}"
        for field, value in self.other_values.items():
            other = with_value(made, field, value)
            assert getattr(other, field) != getattr(made, field), f"other_values[{field!r}] is the value of make()"

    def test_every_setting_is_documented(self) -> None:
        """`rayci methods` shows the docstring under each field."""
        fields = type(self.make()).model_fields
        silent = [name for name, info in fields.items() if not info.description]
        assert not silent, f"settings without a docstring: {silent}"

    def test_settings_are_frozen_and_round_trip_as_json(self) -> None:
        """A stage's settings are stored as JSON and must come back equal."""
        made = self.make()
        assert type(made).model_validate_json(made.model_dump_json()) == made, "settings do not survive JSON"
        said = made.effective()
        stored = json.loads(canonical_json({key: said[key] for key in said.keys() - made.folder_marks().keys()}))
        assert type(made).model_validate({**made.model_dump(), **stored}) == made, "effective() does not survive JSON"
        assert type(made).model_config.get("frozen"), "settings can be changed after validation"

    def test_unknown_settings_are_refused(self) -> None:
        """A misspelt setting must not be dropped in silence."""
        made = self.make()
        try:
            type(made).model_validate({**made.model_dump(), "no_such_setting": 1})
        except ValidationError:
            return
        raise AssertionError("an unknown setting is accepted")

    def test_effective_settings_are_all_but_speed(self) -> None:
        """What `effective()` leaves out is not in the fingerprint."""
        made = self.make()
        left_out, left_in = made.speed_fields() | made.unmentioned(), set(made.effective())
        expected = set(type(made).model_fields) - left_out
        assert left_in == expected, (
            f"effective() lacks {sorted(expected - left_in)}, has {sorted(left_in - expected)} too many"
        )
