"""Errors a user can act on: what was given, where, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence


class RayciError(Exception):
    """Base of every error that rayci raises on purpose."""


class RequestError(RayciError):
    """The request itself is wrong; the command line exits with code 2 and writes nothing.

    The text has at most four lines: the problem, then `at`, `allowed` and `try`,
    each left out where there is nothing to say. `key` is the path of the key to blame, below
    what was checked (of a setting in its method, say); who knows where that stands adds the place.
    """

    def __init__(
        self,
        problem: str,
        *,
        at: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
        key: Sequence[str | int] = (),
    ) -> None:
        self.problem, self.at, self.allowed, self.hint, self.key = problem, at, allowed, hint, tuple(key)
        parts = [problem, at and f"at: {at}", allowed and f"allowed: {allowed}", hint and f"try: {hint}"]
        super().__init__("\n  ".join(_one_line(part) for part in parts if part))

    def located(self, at: str) -> RequestError:
        """The same error with its place filled in, for callers that know file and line.

        A place that the error knows already (a line of a data file, say) stays, in brackets.
        """
        place = at if self.at in (None, at) else f"{at} ({self.at})"
        return type(self)(self.problem, at=place, allowed=self.allowed, hint=self.hint, key=self.key)

    def under(self, *keys: str | int) -> RequestError:
        """The same error, which blames a key below these."""
        key = (*keys, *self.key)
        return type(self)(self.problem, at=self.at, allowed=self.allowed, hint=self.hint, key=key)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.at, self.allowed, self.hint, self.key)


class Faults(RequestError):  # noqa: N818 - several errors in one
    """Several faults of one request, all in one message, numbered, each with its place."""

    MOST = 20
    """Faults that the message shows; how many more there are stands below them."""

    def __init__(self, faults: Iterable[RequestError]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.problem for fault in self.faults))
        shown = [f"{number}. " + str(fault).replace("\n", "\n ") for number, fault in enumerate(self.faults, start=1)]
        more = [f"and {len(shown) - self.MOST} more"] if len(shown) > self.MOST else []
        self.args = ("\n".join([f"{len(shown)} things are wrong", *shown[: self.MOST], *more]),)

    def located(self, at: str) -> RequestError:
        return Faults(fault.located(at) for fault in self.faults)

    def under(self, *keys: str | int) -> RequestError:
        return Faults(fault.under(*keys) for fault in self.faults)

    def __reduce__(self) -> tuple[object, ...]:
        return Faults, (self.faults,)


class DataError(RequestError):
    """A data file or record is missing or malformed; names the file and the record."""


class InterventionError(RayciError):
    """An intervention could not be applied; becomes rows with status `failed` and this reason."""


class MeasurementError(RayciError):
    """A criterion has no valid value on this stage; becomes a row with status `failed`."""


class Inapplicable(RayciError):  # noqa: N818 - no failure, there is nothing to measure
    """A criterion does not apply to this stage; becomes a row with status `skipped` and this reason."""


class OutOfMemory(RayciError):  # noqa: N818 - what happened, and not yet a failure
    """A step or a criterion did not fit into memory; it may, with smaller batches or on more of a GPU."""


class CorruptionError(RayciError):
    """A stored file does not match its checksum or schema."""


class StorageError(RayciError):
    """A place to write to is full, or a remote store does not answer; what to do is in the text."""


def each(error: RequestError) -> tuple[RequestError, ...]:
    """The faults that stand in one error."""
    return error.faults if isinstance(error, Faults) else (error,)


def gathered(faults: Iterable[RequestError]) -> list[RequestError]:
    """Faults as they are found, each text once; one that ends the search by being raised is the last of them."""
    by_text: dict[str, RequestError] = {}
    try:
        for fault in faults:
            by_text.setdefault(str(fault), fault)
    except RequestError as error:
        for fault in each(error):
            by_text.setdefault(str(fault), fault)
    return list(by_text.values())


def caught(attempt: Callable[..., object], *arguments: object) -> Iterator[RequestError]:
    """The faults that a call raises, for a search that goes on after them."""
    try:
        attempt(*arguments)
    except RequestError as error:
        yield from each(error)


def refuse(faults: Iterable[RequestError]) -> None:
    """Raise all faults as one RequestError; nothing where there are none."""
    several = gathered(faults)
    if several:
        raise several[0] if len(several) == 1 else Faults(several)


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name closest to `given`, or None when nothing is near."""
    matches = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def printable(text: str) -> str:
    """The text with what a terminal would obey, or no encoding can hold, written out: `\\x1b`, `\\ud800`."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )


def _one_line(text: str, limit: int = 400) -> str:
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _rebuild(
    cls: type[RequestError],
    problem: str,
    at: str | None,
    allowed: str | None,
    hint: str | None,
    key: tuple[str | int, ...],
) -> RequestError:
    return cls(problem, at=at, allowed=allowed, hint=hint, key=key)
