"""Every file that starts a cluster asks for the GPUs, and gives the memory, that the published spec counts on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OF_TYPE = {"p4d.24xlarge": 40, "p4de.24xlarge": 80, "NVIDIA-A100-SXM4-40GB": 40, "NVIDIA-A100-SXM4-80GB": 80}
"""GB of one GPU of an AWS instance, or of what NVIDIA calls one on a node of Kubernetes."""
ASKED = yaml.safe_load((ROOT / "trials" / "specs" / "published_llama3_8b.yaml").read_text())["resources"]["gpu_memory"]


@pytest.mark.parametrize("file", ["cluster.yaml", "trials/rayjob.yaml"])
def test_types_of_node(file: str) -> None:
    words = set(re.findall(r"\bp4\w+\.24xlarge|NVIDIA-[\w-]+", (ROOT / file).read_text()))
    assert words and {OF_TYPE[word] for word in words} == {ASKED}


@pytest.mark.parametrize("file", ["cluster.yaml", "cluster.slurm"])
def test_what_is_said(file: str) -> None:
    assert set(re.findall(r"\d+(?= GB\b)", (ROOT / file).read_text())) == {str(ASKED)}
