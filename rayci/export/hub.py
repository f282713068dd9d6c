"""Checkpoints to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rayci.errors import RayciError, RequestError, StorageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_TOKEN_HINT = "hf auth login, or HF_TOKEN with a token that may write"


def refuse_name(name: str) -> None:
    """RequestError for what can be no repository of somebody, and where there is no token to make one with."""
    from huggingface_hub import get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
        owned = name.count("/") == 1
    except HFValidationError:
        owned = False
    if not owned:
        raise RequestError(
            f"{name!r} is no name of a repository",
            at="--push-to-hub",
            allowed="owner/name, of letters, digits, -, _, .",
        )
    if get_token() is None:
        raise RequestError("there is no token for the hub", at="--push-to-hub", hint=_TOKEN_HINT)


def push(folder: Path | str, name: str, *, private: bool = False) -> str:
    """Upload a checkpoint as one commit to `owner/name`, which is made if need be; returns its address.

    Raises RequestError where there is no token, the token may not write there, or the repository holds
    something or is seen by others than asked; StorageError where the hub does not answer.
    """
    refuse_name(name)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi()
    try:
        _make(api, name, private)
        commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload a model made by rayci")
    except RayciError:
        raise
    except Exception as error:  # of the network, of the hub, and of what lies between
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            raise RequestError(f"the hub refuses {name}: {reason}", at="--push-to-hub", hint=_TOKEN_HINT) from None
        raise StorageError(f"{name} could not be uploaded ({reason}); hf upload {name} {folder} tries again") from error
    return str(commit.repo_url)


def _make(api: HfApi, name: str, private: bool) -> None:
    """Create the repository, unless it is there, empty and as private as asked."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        there = api.model_info(name)
    except RepositoryNotFoundError:
        api.create_repo(name, private=private)
        return
    if {file.rfilename for file in there.siblings or ()} - {".gitattributes"}:
        raise RequestError(f"{name} holds something already", at="--push-to-hub", hint="another name")
    if bool(there.private) != private:
        seen = "private" if there.private else "public"
        raise RequestError(f"{name} is there and {seen}", at="--push-to-hub", hint="another name")
