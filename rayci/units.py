"""Units, and numbers as people read them."""

from __future__ import annotations

GIB = 2**30
"""Bytes."""
HOUR = 3600.0
"""Seconds."""
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Bytes with a binary unit: 512 B, 12.3 GiB."""
    power = 0
    while count >= 1024 and power < len(_SIZES) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.0f} {_SIZES[power]}" if power == 0 or count >= 1000 else f"{count:.3g} {_SIZES[power]}"


def hours(count: float) -> str:
    """Hours: 0 h, 40 s, 12 min, 3.5 h, 1,200 h."""
    if 0 < count * HOUR < 100:
        return f"{count * HOUR:.3g} s"
    if 0 < count < 2:
        return f"{count * 60:.3g} min"
    return f"{count:,.1f} h" if 0 < count < 100 else f"{count:,.0f} h"
