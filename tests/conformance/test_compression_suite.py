"""The conformance suites of the compressors beyond Wanda and RTN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rayci.conformance import CompressorConformance
from rayci.conformance.bench import fresh_testbed
from rayci.intervention import Compressor
from rayci.interventions.compression.awq import AWQ
from rayci.interventions.compression.gptq import GPTQ
from rayci.interventions.compression.hqq import HalfQuadratic
from rayci.interventions.compression.layerdrop import LayerDrop
from rayci.interventions.compression.magnitude import Magnitude
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.interventions.compression.sparsegpt import SparseGPT
from rayci.subject import Subject
from tests.models import tiny

NO_ZEROS: Mapping[str, str] = {"keep_zeros": "the testbed's weights hold no zeros"}

# Several tokens for each channel: a Hessian of low rank makes rounding matter.
CALIBRATION: dict[str, Any] = {"sequences": 16, "length": 64, "forward_batch": 4}
OTHER_CALIBRATION: dict[str, Any] = {"sequences": 12, "length": 48, "forward_batch": 8}


class TestMagnitude(CompressorConformance):
    other_values: ClassVar[Mapping[str, Any]] = {"sparsity": 0.25, "pattern": "2:4", "scope": "row", "parity": True}

    def make(self) -> Compressor:
        return Magnitude(sparsity=0.5)


class TestHalfQuadratic(CompressorConformance):
    unread: ClassVar[Mapping[str, str]] = NO_ZEROS
    other_values: ClassVar[Mapping[str, Any]] = {
        "bits": 3,
        "group_size": 32,
        "p": 1.0,
        "beta": 1e5,
        "kappa": 1.5,
        "iterations": 5,
    }

    def make(self) -> Compressor:  # the published β takes every error of these weights for none
        return HalfQuadratic(bits=4, beta=1e4)


class TestLayerDrop(CompressorConformance):
    unread: ClassVar[Mapping[str, str]] = {
        "sequences": "fewer tokens of this text find the same block",
        "length": "fewer tokens of this text find the same block",
    }
    other_values: ClassVar[Mapping[str, Any]] = {"blocks": 2, "forward_batch": 1}

    def make(self) -> Compressor:
        return LayerDrop(blocks=1, sequences=4, length=32, forward_batch=2)


class OnFewChannels(CompressorConformance):
    """Sweeps over columns take a kernel a channel, AWQ a search a linear: a quarter of the testbed's tell as much."""

    def subject(self) -> Subject:
        return tiny()


class TestSparseGPT(OnFewChannels):
    other_values: ClassVar[Mapping[str, Any]] = {
        "sparsity": 0.25,
        "pattern": "2:4",
        "damping": 0.1,
        "block_size": 16,
        "parity": True,
        "solve_batch": 1,
        **OTHER_CALIBRATION,
    }

    def make(self) -> Compressor:
        return SparseGPT(sparsity=0.5, **CALIBRATION)


class TestGPTQ(OnFewChannels):
    unread: ClassVar[Mapping[str, str]] = NO_ZEROS
    other_values: ClassVar[Mapping[str, Any]] = {
        "bits": 3,
        "group_size": 8,
        "grid": "nf4",
        "symmetric": False,
        "act_order": False,
        "static_groups": True,
        "damping": 0.1,
        "block_size": 8,
        "solve_batch": 1,
        **OTHER_CALIBRATION,
    }

    def make(self) -> Compressor:
        return GPTQ(bits=4, group_size=16, act_order=True, **CALIBRATION)


class TestPublishedGPTQ(TestGPTQ):
    other_values: ClassVar[Mapping[str, Any]] = {**TestGPTQ.other_values, "act_order": True}
    unread: ClassVar[Mapping[str, str]] = {
        **NO_ZEROS,
        **dict.fromkeys(("static_groups", "block_size"), "groups of 128 are whole rows"),
    }

    def subject(self) -> Subject:
        return fresh_testbed()

    def make(self) -> Compressor:
        return GPTQ.configure("testbed", 4, CALIBRATION)


class TestFP8(OnFewChannels):
    unread: ClassVar[Mapping[str, str]] = NO_ZEROS
    other_values: ClassVar[Mapping[str, Any]] = {
        "bits": RoundToNearest(bits=3, group_size=16),
        "group_size": 16,
        "grid": RoundToNearest.configure(strength="nf4", settings={"group_size": 16}),
    }

    def make(self) -> Compressor:
        return RoundToNearest.configure(strength="fp8")


class TestMXFP4(TestFP8):
    other_values: ClassVar[Mapping[str, Any]] = {
        **TestFP8.other_values,
        "group_size": RoundToNearest.configure(strength="nvfp4"),
    }

    def make(self) -> Compressor:
        return RoundToNearest.configure(strength="mxfp4")


class TestNVFP4(OnFewChannels):
    unread: ClassVar[Mapping[str, str]] = NO_ZEROS
    other_values: ClassVar[Mapping[str, Any]] = {
        "bits": GPTQ(bits=3, group_size=16, **CALIBRATION),
        "group_size": GPTQ(bits=4, group_size=8, **CALIBRATION),
        "grid": GPTQ.configure(strength="nf4", settings={"group_size": 16, **CALIBRATION}),
        "act_order": GPTQ(grid="nvfp4", act_order=True, static_groups=True, **CALIBRATION),
        "static_groups": True,
        "damping": 0.1,
        "block_size": 64,
        "solve_batch": 1,
        **OTHER_CALIBRATION,
    }

    def make(self) -> Compressor:
        return GPTQ.configure(strength="nvfp4", settings={"block_size": 16, **CALIBRATION})


class TestNF4(TestNVFP4):
    other_values: ClassVar[Mapping[str, Any]] = {
        **TestNVFP4.other_values,
        "group_size": 8,
        "grid": GPTQ(grid="nvfp4", **CALIBRATION),
        "act_order": False,
    }

    def make(self) -> Compressor:
        ordered = {"act_order": True, "block_size": 16, "group_size": 16}
        return GPTQ.configure(strength="nf4", settings={**ordered, **CALIBRATION})


class TestAWQ(OnFewChannels):
    unread: ClassVar[Mapping[str, str]] = NO_ZEROS
    other_values: ClassVar[Mapping[str, Any]] = {
        "bits": 3,
        "group_size": 8,
        "symmetric": True,
        "duo_scaling": False,
        "clip_tokens": 64,
        **OTHER_CALIBRATION,
    }

    def make(self) -> Compressor:  # without a Hessian: fewer tokens tell as much
        return AWQ(bits=4, group_size=16, sequences=4, length=32, forward_batch=2)
