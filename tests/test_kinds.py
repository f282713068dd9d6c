"""What a scale says of its criterion."""

from __future__ import annotations

from rayci.kinds import UNIT_INTERVAL, Direction, Scale


def test_the_width_of_a_range_and_what_judges_shares() -> None:
    assert Scale(Direction.ZERO, -100.0, 100.0).width == 200.0
    assert Scale(Direction.LOWER, 1.0).width is None
    assert UNIT_INTERVAL.judges_shares
    assert not Scale(Direction.NONE, 0.0, 1.0).judges_shares
    assert not Scale(Direction.HIGHER, 0.0, 100.0).judges_shares
