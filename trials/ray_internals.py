"""All that rayci takes of Ray which Ray calls private: in which version it was seen, and what is lost without it.

No other file names a private part of Ray. Where one is gone the functions here fall back, and
`rayci doctor` says what no longer works.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HEAD = "node:__internal_head__"
"""Resource that the head has one of (Ray 2.60.0)."""


@dataclass(frozen=True)
class Internal:
    """A private name of Ray."""

    module: str
    name: str
    lost: str
    """What does not work without it."""
    seen: str = "2.60.0"
    """Version of Ray in which it was seen at work."""

    def get(self) -> Any:
        """What Ray calls so; None where there is no such name."""
        try:
            return getattr(import_module(self.module), self.name)
        except (ImportError, AttributeError):
            return None

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


SWITCH = Internal(
    "ray._private.ray_constants",
    "ENABLE_RAY_CLUSTER",
    "a sweep on one machine listens on every interface once Ray was imported",
)
BOOTSTRAP = Internal(
    "ray._private.services",
    "canonicalize_bootstrap_address_or_die",
    "--address auto where nothing runs is Ray's own error",
)
CLIENT = Internal("ray._raylet", "GcsClient", "an address without a head is noticed after minutes, a wrong token late")
TOKEN_MODE = Internal(
    "ray._private.authentication.authentication_token_setup",
    "maybe_enable_token_auth_if_token_available",
    "clusters with a token need RAY_AUTH_MODE=token beside it",
)
TOKENS = Internal(
    "ray._raylet", "AuthenticationTokenLoader", "~/.ray/auth_token, where Ray makes it, is readable by all"
)
SETTINGS = Internal("ray._raylet", "Config", "a process stays with the token authentication of its first sweep")
STATE = Internal("ray._private.state", "state", "node types that a platform reports are not known")
SCORE = Internal(
    "ray.autoscaler._private.resource_demand_scheduler",
    "_default_utilization_scorer",
    "the head of cluster.yaml chooses node types by how many trials fit alone",
)
INTERNALS = (SWITCH, BOOTSTRAP, CLIENT, TOKEN_MODE, TOKENS, SETTINGS, STATE, SCORE)


def missing() -> list[Internal]:
    """Names that the installed Ray does not have."""
    return [internal for internal in INTERNALS if internal.get() is None]


@contextmanager
def clusters(*, joined: bool) -> Iterator[None]:
    """Ray's switch for clusters: off, the ports of a one-machine Ray bind to loopback, where they otherwise
    listen on every interface; on, a cluster can be joined from any system. This process reads the variable
    when Ray is imported, those that Ray starts read it then.
    """
    before = SWITCH.get()
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1" if joined else "0"
    if before is not None:
        setattr(import_module(SWITCH.module), SWITCH.name, joined)
    try:
        yield
    finally:
        if before is not None:
            setattr(import_module(SWITCH.module), SWITCH.name, before)


def bootstrap(address: str) -> str:
    """`host:port` of the head that `auto` stands for; ConnectionError where none runs on this machine."""
    find = BOOTSTRAP.get()
    return address if find is None else str(find(address))


def knows_us(head: str) -> bool:
    """Whether the head takes our requests as those of someone who may make them; ConnectionError where none answers."""
    from ray import ClusterID
    from ray.exceptions import AuthenticationError, RpcError

    client = CLIENT.get()
    if client is None:
        return True
    try:  # told a cluster's id, the client answers at once; without, it asks for it again and again
        client(address=head, cluster_id=ClusterID.from_random().hex()).check_alive([], timeout=5)
    except AuthenticationError as error:
        return "InvalidAuthToken" not in str(error)  # or else that this is not the cluster's id
    except RpcError as error:
        raise ConnectionError(f"what listens there is none ({error})") from None
    return True


def send_token() -> bool:
    """Send the account's token from now on; False where it has none, or the caller has decided on RAY_AUTH_MODE."""
    enable = TOKEN_MODE.get()
    return enable is not None and bool(enable(warn_if_disabled=False))


def has_token() -> bool:
    """Whether Ray would find a token, in a variable or a file; True where that cannot be told."""
    loader = TOKENS.get()
    return loader is None or bool(loader.instance().has_token(ignore_auth_mode=True))


def reread_authentication() -> None:
    """Let Ray look at RAY_AUTH_MODE and the token anew: it reads them once a process."""
    settings, loader = SETTINGS.get(), TOKENS.get()
    if settings is not None:
        settings.initialize("")
    if loader is not None:
        loader.instance().reset_cache()


def default_score(
    node: Mapping[str, float], demands: Sequence[Mapping[str, float]], node_type: str, **more: Any
) -> Any:
    """The first autoscaler's own score of a node type for what waits; None where nothing fits."""
    score = SCORE.get()
    if score is not None:
        return score(node, demands, node_type, **more)
    fitting = sum(all(node.get(key, 0) >= value for key, value in demand.items()) for demand in demands)
    return (fitting,) if fitting else None


def reported_node_types() -> dict[str, dict[str, float]]:
    """Node types that a platform has told the head of."""
    state = STATE.get()
    config = state.get_cluster_config() if hasattr(state, "get_cluster_config") else None
    groups = config.node_group_configs if config is not None else ()
    return {group.name: dict(group.resources) for group in groups if group.max_count}


def configured_node_types(head: str) -> dict[str, dict[str, float]] | None:
    """Node types of the autoscaler that runs on this machine for the head at `head` (`host:port`).

    Read from the file that the head's monitor was started with; empty where it has none and adds no nodes, None
    where there is no monitor: then the autoscaler, if there is one, runs elsewhere (KubeRay).
    """
    import yaml

    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"--gcs-address={head}" not in words or not any(word.endswith("monitor.py") for word in words):
            continue
        files = [word.partition("=")[2] for word in words if word.startswith("--autoscaling-config=")]
        if not files:
            return {}
        types = yaml.safe_load(Path(files[0]).expanduser().read_text())["available_node_types"]
        return {name: dict(one.get("resources", {})) for name, one in types.items() if one.get("max_workers", 1)}
    return None
