"""Files of a data set from the hub: from its cache where they lie there, else fetched where that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rayci.errors import DataError


class AbsentDataError(DataError):
    """Data that are not on this machine; they may lie on another one, or be fetched."""


def snapshot(repository: str, revision: str | None, patterns: Sequence[str], *, fetch: bool) -> tuple[Path, str]:
    """(folder, commit) of one revision, holding at least what there is of `patterns`.

    Raises AbsentDataError where it is not in the cache, and not allowed or not possible to fetch; DataError
    where the hub refuses. Variables such as HF_HUB_OFFLINE and HF_HOME are the hub library's own.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    try:
        folder = Path(
            snapshot_download(
                repository,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=not fetch,
            )
        )
    except GatedRepoError:
        raise DataError(
            f"{repository} is gated",
            hint=f"accept its conditions on huggingface.co/datasets/{repository}, then `hf auth login`",
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        kind = DataError if isinstance(error, HfHubHTTPError) else AbsentDataError
        raise kind(
            f"{repository} is not in the hub's cache and could not be fetched: {reason}",
            hint="check the name, the revision and the network, or give `path:` of a copy",
        ) from None
    return folder, folder.name
