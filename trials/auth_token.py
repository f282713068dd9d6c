"""The account's token for Ray: made readable by its owner alone, where Ray would make one that everybody can read."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from rayci.trials import ray_internals

TOKEN = Path(".ray") / "auth_token"
"""Where Ray looks for it, from the home directory."""


def make_private_token() -> None:
    """Write a token where Ray is about to make one: a Ray that is started on this machine asks for it by default."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or ray_internals.has_token():
        return
    path = Path.home() / TOKEN
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # with mode 600
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))  # 256 bits, as Ray takes
        with suppress(FileExistsError):  # another process was faster: its token is the account's
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
    ray_internals.reread_authentication()


def exposed_token() -> Path | None:
    """The account's token, where others on this machine can read it."""
    path = Path.home() / TOKEN
    try:
        return path if path.stat().st_mode & 0o077 else None
    except OSError:
        return None
