"""Start or join Ray with Tune's noise off; every setting here has a reason beside it."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from typing import Any

from rayci.errors import RequestError

CLUSTER_PENDING = 64
"""Trials that wait for resources at a time on a cluster: what an autoscaler sees and scales to."""

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own tables: 6 631 lines for 300 trials
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files a trial
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def local_workers(cpus: float, threads: int) -> int:
    """How many trials fit the machine without their threads fighting over cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(cores // max(cpus, threads)))


def check_address(address: str, timeout: float = 5.0) -> None:
    """RequestError where no Ray head answers at `address`, or not with our token; Ray would try for 20 s.

    Turns token authentication on where the cluster asks for it and this account has a token: with an
    explicit address Ray sends none by itself.
    """
    host, _, port = _resolved(address).rpartition(":")
    try:
        if not (host and port.isdigit()) or "/" in host:
            raise OSError("not host:port")
        socket.create_connection((host, int(port)), timeout).close()
    except OSError as error:
        raise _unreachable(address, str(error)) from None
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    logging.getLogger("ray").setLevel(logging.ERROR)
    head = f"{host}:{port}"
    known = _knows_us(head)
    if not known and "RAY_AUTH_MODE" not in os.environ:
        known = maybe_enable_token_auth_if_token_available(warn_if_disabled=False) and _knows_us(head)
    if not known:
        raise RequestError(
            f"the Ray cluster at {address} does not accept our token",
            at="--address",
            allowed="RAY_AUTH_MODE=token with the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token",
            hint="ray get-auth-token, run on the cluster's head, prints it",
        )


def _unreachable(address: str, problem: str) -> RequestError:
    return RequestError(
        f"no Ray cluster at {address}: {problem}",
        at="--address",
        allowed="auto, or host:port of a running head, on a machine that belongs to the cluster",
        hint="ray start --head, or leave --address out to use this machine",
    )


def _resolved(address: str) -> str:
    """`host:port`, also for `auto`."""
    if address != "auto":
        return address
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        return str(canonicalize_bootstrap_address_or_die(address))
    except ConnectionError:
        raise _unreachable(address, "none runs on this machine") from None


def _knows_us(head: str) -> bool:
    """Whether the head takes our requests as those of someone who may make them."""
    from ray import ClusterID
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError, RpcError

    try:  # told a cluster's id, the client answers at once; without, it asks for it again and again
        GcsClient(address=head, cluster_id=ClusterID.from_random().hex()).check_alive([], timeout=5)
    except AuthenticationError as error:
        return "InvalidAuthToken" not in str(error)  # or else that this is not the cluster's id
    except RpcError as error:
        raise _unreachable(head, f"what listens there is none ({error})") from None
    return True


def nodes_lost() -> int:
    """How many nodes have left the cluster; where its head is gone, Ray ends this process before it answers."""
    import ray

    return sum(not node["Alive"] for node in ray.nodes())


@contextmanager
def connected(*, address: str | None, workers: int, cpus: float, threads: int, gpus: bool) -> Iterator[None]:
    """Ray, started on this machine or joined at `address`; shut down or left at the end.

    `workers` trials run at a time on this machine; on a cluster as many wait for resources.
    RequestError where the cluster cannot be joined.
    """
    # With a custom Searcher only one trial is pending at a time unless this is set.
    with _environment(QUIET | {"TUNE_MAX_PENDING_TRIALS_PG": str(workers)}):
        import ray

        if ray.is_initialized():  # a Ray that the caller has started is the caller's to configure and to stop
            yield
            return
        for name in ("ray", "ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        with _clusters(joined=address is not None), tempfile.TemporaryDirectory(prefix="rayci-") as empty:
            _connect(address, empty, max(1, round(workers * cpus)), threads, gpus)
            try:
                yield
            finally:
                ray.shutdown()


def _connect(address: str | None, empty: str, cpus: int, threads: int, gpus: bool) -> None:
    import ray

    environment = {**QUIET, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    local: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False}
    local |= {} if gpus else {"num_gpus": 0}
    try:
        # Workers look for modules where the driver stands: in an empty folder, so that a user's own `trials/`
        # or `analysis/` cannot shadow ours. As a `working_dir` it would be shipped to every node, and on a
        # host with several nodes one that goes takes the others' copy with it.
        with chdir(empty):
            ray.init(
                address=_resolved(address) if address else "local",  # None joins any Ray that runs on this machine
                runtime_env={"env_vars": environment},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else local),
            )
    except (OSError, RuntimeError, ValueError) as error:  # another version of Ray, a machine outside the cluster
        if address is None:
            raise
        raise _unreachable(address, " ".join(str(error).split())) from None


@contextmanager
def _clusters(*, joined: bool) -> Iterator[None]:
    """Ray's switch for clusters: off, the ports of a one-machine Ray bind to loopback, where they otherwise
    listen on every interface; on, a cluster can be joined from any system. Ray read it when it was imported.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = joined
    with _environment({ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "1" if joined else "0"}):
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process, as they were before when the block ends: a later Ray of the caller's is not ours."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
