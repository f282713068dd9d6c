"""Snapshots of the Hugging Face hub: from its cache where they lie there, else fetched, and why they could not be.

Variables such as HF_HUB_OFFLINE, HF_HOME, HF_TOKEN and HF_ENDPOINT are the hub library's own.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from rayci.errors import RequestError

Kind = Literal["dataset", "model"]
PATIENCE = 3.0
"""Seconds in which the hub must answer at all. Its library would wait and try again for every file."""
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_COPY = "the network, a copy on this machine, or `rayci data fetch SPEC` where there is a network"


class Absent(RequestError):  # noqa: N818 - it may be on another machine
    """What is asked for is not on this machine, and cannot be fetched now."""


def snapshot(
    repository: str, kind: Kind, revision: str | None, patterns: Sequence[str], *, fetch: bool
) -> tuple[Path, str]:
    """(folder, commit) of one revision, holding at least what there is of `patterns`.

    A fetch that was interrupted goes on where it was. Raises Absent where it is not in the cache and may not, or
    cannot, be fetched; RequestError where the hub refuses, or where there is no room.
    """
    from huggingface_hub import snapshot_download

    silent = why_silent() if fetch else None
    try:
        folder = Path(
            snapshot_download(
                repository,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=not fetch or silent is not None,
                tqdm_class=_bars(),
            )
        )
    except Exception as error:  # of whichever HTTP library, and of its threads
        raise _refusal(error, repository, kind, revision, silent) from None
    return folder, folder.name


def _bars() -> type[Any]:
    """The hub library's progress bars, on terminals alone."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options["disable"] = options.get("disable") or not sys.stderr.isatty()
            super().__init__(*arguments, **options)

    return Bar


def access(repository: str, kind: Kind) -> RequestError | None:
    """Why this user may not fetch from a repository; None where that is allowed, or the hub does not answer."""
    from huggingface_hub import HfApi

    if why_silent():
        return None
    try:
        HfApi().auth_check(repository, repo_type=kind)
    except Exception as error:
        return _refusal(error, repository, kind, None, None)
    return None


def is_id(source: str) -> bool:
    """Whether a name has the form of a hub id, `owner/name[@revision]`, and not that of a path."""
    return source.count("/") == 1 and not source.startswith((".", "/", "~"))


def check_name(repository: str) -> None:
    """RequestError for what can be no name on the hub."""
    from huggingface_hub import errors, utils

    try:
        utils.validate_repo_id(repository)
    except errors.HFValidationError as error:
        raise _refusal(error, repository, "model", None, None) from None


def bytes_to_fetch(repository: str, kind: Kind, revision: str | None, patterns: Sequence[str]) -> int | None:
    """Size of the files of these patterns; None where the hub does not tell."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    if why_silent():
        return None
    try:
        files = HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True).siblings or []
    except Exception:  # of whichever HTTP library; what is wrong is said when it is fetched
        return None
    wanted = filter_repo_objects(files, allow_patterns=list(patterns), key=lambda file: file.rfilename)
    return sum(file.size or 0 for file in wanted)


@contextmanager
def offline() -> Iterator[None]:
    """Inside, nothing is fetched: not by the hub's library, nor by `datasets`, which has a switch of its own."""
    from datasets import config
    from huggingface_hub import constants

    switches = (constants, config)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    try:
        for switch in switches:
            switch.HF_HUB_OFFLINE = True
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


def why_silent() -> str | None:
    """Why the hub is not asked, or does not answer; None where it does."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return next((f"{name} is set" for name in _OFFLINE if os.environ.get(name)), "the hub is switched off")
    return _no_answer(constants.ENDPOINT)


@cache
def _no_answer(endpoint: str) -> str | None:
    """Why there is no answer within the patience, asked once; in a thread, as looking a name up may not end."""
    from huggingface_hub import get_session

    told: list[str | None] = []

    def ask() -> None:
        try:
            get_session().head(endpoint, timeout=PATIENCE)  # any status is an answer
            told.append(None)
        except Exception as error:
            told.append(_first_line(error))

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    reason = told[0] if told else f"nothing within {PATIENCE:g} s"
    return reason and f"{endpoint} does not answer: {reason}"


def _refusal(error: Exception, repository: str, kind: Kind, revision: str | None, silent: str | None) -> RequestError:
    from huggingface_hub import errors

    page = f"huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repository}"
    if isinstance(error, errors.GatedRepoError):
        return RequestError(f"{repository} is gated", hint=f"accept its conditions on {page}, then `hf auth login`")
    if isinstance(error, errors.RepositoryNotFoundError):
        hint = "check the name; a private one needs `hf auth login`"
        return RequestError(f"there is no {kind} {repository} on the hub, or it is private", hint=hint)
    if isinstance(error, errors.RevisionNotFoundError):
        return RequestError(f"{repository} has no revision {revision}", allowed="a branch, tag or commit of it")
    if isinstance(error, errors.HFValidationError):
        return RequestError(f"{repository!r} is no name on the hub", allowed="owner/name[@revision]")
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        from huggingface_hub.constants import HF_HUB_CACHE

        return RequestError(
            f"no room left for {repository}", at=HF_HUB_CACHE, hint="make room, or HF_HOME on a larger disk; it goes on"
        )
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled) or silent is not None:
        why = silent or "it was not to be fetched"
        return Absent(f"{repository} is not in the hub's cache, and could not be fetched: {why}", hint=_COPY)
    if isinstance(error, errors.HfHubHTTPError):
        return RequestError(f"the hub refused {repository}: {_first_line(error)}", hint="later, or a copy of it")
    return Absent(f"{repository} could not be fetched: {_first_line(error)}", hint=_COPY)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
