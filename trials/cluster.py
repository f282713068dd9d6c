"""Start or join Ray with Tune's noise off; every setting here has a reason beside it."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from typing import Any

from rayci.errors import RayciError
from rayci.forecast.host import host_bytes
from rayci.planning.resources import Resources
from rayci.trials import ray_internals
from rayci.trials.address import resolved, unreachable
from rayci.trials.auth_token import make_private_token
from rayci.trials.knobs import Knobs
from rayci.trials.process import hush, ray_runs, terminate_like_interrupt

CLUSTER_PENDING = 64
"""Trials that wait for resources at a time on a cluster: what an autoscaler sees and scales to."""

NAMESPACE = "rayci"
"""Of what a sweep names on a cluster that others use too: it meets no name of theirs, and lists tell it apart."""

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own tables: 6 631 lines for 300 trials
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files a trial
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a traceback of Tune's for every worker that is killed
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # and Ray's own, where nobody waits for that worker any more
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def nodes_lost() -> int:
    """How many nodes have left the cluster; where its head is gone, Ray ends this process before it answers."""
    import ray

    return sum(not node["Alive"] for node in ray.nodes())


@contextmanager
def connected(knobs: Knobs, resources: Resources, *, workers: int, gpus: int = 0) -> Iterator[None]:
    """Ray, started on this machine or joined at the knobs' address; shut down or left at the end.

    On this machine, which has so many `gpus`, `workers` trials run at a time; on a cluster as many as the knobs
    say wait for resources. RequestError where the cluster cannot be joined. What it changes in this process
    stays changed, see `rayci.trials.process.put_back`.
    """
    pending = workers if knobs.address is None else knobs.workers or CLUSTER_PENDING
    # With a custom Searcher only one trial is pending at a time unless this is set.
    os.environ.update(QUIET | {"TUNE_MAX_PENDING_TRIALS_PG": str(pending)})
    if ray_runs():  # a Ray that the caller has started is the caller's to configure and to stop
        yield
        return
    options: dict[str, Any] = {"address": knobs.address}
    if knobs.address is None:  # None joins any Ray that runs on this machine
        cpus = max(1, math.ceil(workers * resources.cpus))
        options = {"address": "local", "num_cpus": cpus, "num_gpus": gpus, "include_dashboard": False}
        options["_memory"] = host_bytes()  # what capacity counts on; Ray takes what happens to be free
    # Workers look for modules where the driver stands: in an empty folder, so that a user's own `trials/`
    # or `analysis/` cannot shadow ours. As a `working_dir` it would be shipped to every node, and on a
    # host with several nodes one that goes takes the others' copy with it.
    with (
        ray_internals.clusters(joined=knobs.address is not None),
        tempfile.TemporaryDirectory(prefix="rayci-") as empty,
    ):
        _start(empty, options, {**QUIET, "OMP_NUM_THREADS": str(resources.threads), "TOKENIZERS_PARALLELISM": "false"})
        try:
            yield
        finally:
            import ray

            ray.shutdown()


def _start(empty: str, options: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Start or join Ray from an empty folder; `variables` are those of its workers."""
    import ray

    hush()
    joined = options["address"] != "local"
    try:
        if joined:
            options = {**options, "address": resolved(options["address"])}
        else:
            make_private_token()
        with chdir(empty):
            environment = {"env_vars": dict(variables)}
            ray.init(
                namespace=NAMESPACE,
                runtime_env=environment,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
    except SystemExit:  # Ray's own answer to SIGTERM while it starts
        raise KeyboardInterrupt from None
    except (OSError, RuntimeError, ValueError) as error:  # another version of Ray, a machine outside the cluster
        problem = " ".join(str(error).split())
        if joined:
            raise unreachable(options["address"], problem) from None
        raise RayciError(f"Ray does not start on this machine: {problem}") from error
    finally:
        terminate_like_interrupt()  # Ray has put its own handler there
