"""Whether a Ray cluster answers at an address, and to us: asked first, Ray itself would try for minutes."""

from __future__ import annotations

import os
import socket

from rayci.errors import RequestError
from rayci.trials import ray_internals
from rayci.trials.process import hush, ray_runs


def check_address(address: str, timeout: float = 5.0) -> None:
    """RequestError where no Ray head answers at `address`, not with our token, or this process has a Ray of its own.

    Turns token authentication on where the cluster asks for it and this account has a token: with an
    explicit address Ray sends none by itself.
    """
    if ray_runs():
        raise RequestError(
            f"this process is connected to a Ray already, and cannot join {address} as well",
            at="address",
            hint="ray.shutdown() first, or leave address out: the sweep then runs on the Ray that is there",
        )
    head = resolved(address)
    host, _, port = head.rpartition(":")
    try:
        if not (host and port.isdigit()) or "/" in host:
            raise OSError("not host:port")
        socket.create_connection((host, int(port)), timeout).close()
        known = _known(head)
    except (OSError, OverflowError, UnicodeError) as error:
        raise unreachable(address, str(error)) from None
    if not known:
        raise RequestError(
            f"the Ray cluster at {address} does not accept our token",
            at="--address",
            allowed="RAY_AUTH_MODE=token with the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token",
            hint="ray get-auth-token, run on the cluster's head, prints it",
        )


def resolved(address: str) -> str:
    """`host:port`, also for `auto`."""
    if address != "auto":
        return address
    try:
        return ray_internals.bootstrap(address)
    except ConnectionError:
        raise unreachable(address, "none runs on this machine") from None


def unreachable(address: str, problem: str) -> RequestError:
    """The error of an address that cannot be joined."""
    return RequestError(
        f"no Ray cluster at {address}: {problem}",
        at="--address",
        allowed="auto, or host:port of a running head, on a machine that belongs to the cluster",
        hint="ray start --head, or leave --address out to use this machine",
    )


def _known(head: str) -> bool:
    if ray_internals.knows_us(head):
        return True
    hush()  # what Ray says of a token
    return "RAY_AUTH_MODE" not in os.environ and ray_internals.send_token() and ray_internals.knows_us(head)
