"""Every published preset on Llama-3-8B fits one GPU of 80 GB; of several GPUs the fullest counts."""

from __future__ import annotations

import pytest

from rayci import registry
from rayci.forecast.estimator import Estimator
from rayci.forecast.memory import Memory
from rayci.forecast.share import fitting
from rayci.intervention import Intervention
from rayci.model.shapes import sketch
from rayci.model.sizes import Sizes
from rayci.model.step_memory import RESERVE
from rayci.planning.chain import Link
from rayci.planning.composition import Step
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.units import GIB
from rayci.workload import Workload
from tests.models import tiny

GPU = 80e9
WORK = Workload(sketch("meta-llama/Meta-Llama-3-8B", dtype="bfloat16").subject)


def needed(made: Intervention, gpus: int = 1) -> int:
    return Memory(WORK).on(gpus, GPU).step(Link(Step(made.name), made, None))


@pytest.mark.parametrize("method", registry.INTERVENTIONS)
def test_every_published_preset_fits_one_gpu(method: str) -> None:
    cls = registry.intervention(method)
    strengths = (cls.strength.grid or (None,)) if cls.strength else (None,)
    for preset in {"published", *cls.presets} - {"testbed"}:
        for strength in strengths:
            made = cls.configure(preset, strength)
            assert RESERVE * needed(made) <= GPU, f"{made.name} {preset}: {needed(made) / 1e9:.1f} GB"


def test_gradient_ascent_by_hand() -> None:
    """The last 16 blocks: bf16 weights, fp32 gradients and moments; no masters where bf16 is stored."""
    ga = registry.intervention("ga")
    trained = 16 * (2 * 4096**2 + 2 * 1024 * 4096 + 3 * 4096 * 14336 + 2 * 4096)
    lasting = 2 * WORK.parameters + trained * (4 + 8)
    assert trained * 12 == pytest.approx(41.9e9, rel=1e-3)
    assert 0 <= needed(ga()) - lasting < 5e9
    # with masters they no longer fit beside the rest, so all of the state waits on the host
    stored = ga(storage="float32")
    assert 0 <= needed(stored) - 2 * WORK.parameters - 4 * trained < 5e9


def test_all_weights_train_with_their_moments_on_the_host() -> None:
    made = registry.intervention("gd").configure("muse_news")
    assert 0 <= needed(made) - (2 + 4) * WORK.parameters < 9e9
    large = Workload(WORK.subject, device_memory=200e9)
    assert made.memory(large) > made.memory(WORK) + 7 * WORK.parameters  # where there is room they stay


def test_low_rank_updates_take_no_state_of_whole_weights() -> None:
    """Rank 8 on every linear: adapters, gradients and moments, fp32; what passes is near 7 GB either way."""
    lora = registry.intervention("npo_gdr").configure("muse_news", None, {"parametrisation": "lora"})
    adapters = 32 * 8 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert adapters == 20_971_520  # as peft counts them
    assert 0 <= needed(lora) - 2 * WORK.parameters - 16 * adapters < 9e9
    assert Memory(WORK).host([Link(Step("npo_gdr"), lora, None)]) == WORK.weight_bytes
    half = registry.intervention("npo_gdr").configure("muse_news", None, {"parametrisation": "lora", "lora_rank": 4})
    assert needed(lora) - needed(half) >= 8 * adapters


def test_the_host_is_told_what_waits_there() -> None:
    def waiting(name: str, **settings: object) -> int:
        made = registry.intervention(name).configure("muse_news", None, settings)
        return Memory(WORK).host([Link(Step(name), made, None)]) - WORK.weight_bytes

    assert waiting("gd") == 8 * WORK.parameters
    assert waiting("gd", storage="float32") == 12 * WORK.parameters
    states = 100 * 2048 * 4096 * 2
    assert waiting("npo_klr", samples=100) - waiting("npo_gdr", samples=100) == states
    assert waiting("task_vector") == (8 + 2) * WORK.parameters
    assert waiting("rmu") == waiting("sure", method="npo_gdr") == 0
    assert Memory(WORK).host([]) == WORK.weight_bytes


def test_a_sweep_reserves_one_gpu_and_the_host_memory_of_its_largest_trial() -> None:
    methods = ("ga", "gd", "npo_klr", "sure", "task_vector", "refusal")
    given = {"name": "t", "model": "meta-llama/Meta-Llama-3-8B", "dtype": "bfloat16", "criteria": ["avg_bits"]}
    reserved = {"resources": {"gpus": "auto", "gpu_memory": 80}}
    listed = {"interventions": {method: {} for method in methods}, "compose": {"pairs": "none"}}
    planner = Planner(spec := Spec.model_validate({**given, **reserved, **listed}), Names(spec))
    estimator = Estimator(planner, lambda parameters, device: [])
    assert {text: estimator.share(text, 80 * GIB) for text in methods} == dict.fromkeys(methods, 1.0)
    states = 1000 * 2048 * 4096 * 2  # of NPO_KLR's retain documents, beside the base weights and the moments
    assert estimator.host_memory(planner.plan()) == (2 + 8) * WORK.parameters + states


def test_a_second_gpu_takes_no_half_of_blocks_that_it_holds_alone() -> None:
    half, every = registry.intervention("ga")(), registry.intervention("ga").configure("muse_news")
    assert needed(half, 2) > 0.8 * needed(half)
    assert needed(every, 2) < 0.7 * needed(every)
    # a GPU too small for one: two do not help the one, and do help the other
    gpu = RESERVE * 50e9
    assert fitting(lambda gpus: RESERVE * needed(half, gpus), gpu) > 2.0
    assert fitting(lambda gpus: RESERVE * needed(every, gpus), gpu) == 2.0


def test_shares_are_of_the_fullest_gpu() -> None:
    assert [fitting(lambda _, held=held: held, 80.0) for held in (5, 10, 11, 40, 41, 80)] == [
        0.125, 0.125, 0.25, 0.5, 1.0, 1.0,
    ]  # fmt: skip
    assert fitting(lambda gpus: {1: 100, 2: 90}.get(gpus, 70), 80.0) == 4.0
    assert fitting(lambda _: 1000, 80.0) == 8.0


def test_blocks_lie_where_accelerate_puts_them() -> None:
    """Platform fact: of 32 blocks over two GPUs 14 lie on the first, with the embeddings; the head on the second."""
    names = [name for name, _ in WORK.subject.model.named_parameters()]
    places = dict(zip(names, Sizes(WORK.subject, gpus=2)._places, strict=True))
    blocks = {int(name.split(".")[2]): place for name, place in places.items() if ".layers." in name}
    assert [block for block, place in blocks.items() if place == 0] == list(range(14))
    assert (places["model.embed_tokens.weight"], places["lm_head.weight"]) == (0, 1)


def test_every_parameter_lies_on_one_of_the_gpus() -> None:
    subject = tiny()
    for gpus in (1, 2, 3):
        sizes = Sizes(subject, gpus=gpus)
        assert set(sizes._places) == set(range(gpus))
        assert sizes.fullest_bytes <= sizes.weight_bytes <= gpus * sizes.fullest_bytes
        assert sizes.most_elements(["lm_head.weight"]) == sizes.elements(["lm_head.weight"])
