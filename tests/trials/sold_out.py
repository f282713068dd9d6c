"""A provider of emulated nodes, loaded by the autoscaler under test, that has no spot capacity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE


class SoldOut(FakeMultiNodeProvider):  # type: ignore[misc]
    """Refuses spot nodes as AWS does; notes every request in the file `requests` of its config."""

    def create_node_with_resources_and_labels(
        self, node_config: Any, tags: dict[str, str], count: int, resources: Any, labels: Any
    ) -> None:
        node_type = tags[TAG_RAY_USER_NODE_TYPE]
        with Path(self.provider_config["requests"]).open("a") as stream:
            stream.write(f"{node_type} {count}\n")
        if "spot" in node_type:
            raise NodeLaunchException("InsufficientInstanceCapacity", "no spot capacity", None)
        super().create_node_with_resources_and_labels(node_config, tags, count, resources, labels)
