"""What stages take on disk, told from shapes, against what they take."""

from __future__ import annotations

from typing import Any

import pytest

from rayci import registry
from rayci.codec.exact_forms import Packed
from rayci.context import Context
from rayci.forecast.footprint import Footprint
from rayci.intervention import Intervention, Receipt
from rayci.kinds import Keep, Kind
from rayci.model.shapes import sketch
from rayci.planning import plan
from rayci.planning.composition import parse
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.subject import Subject
from rayci.testbed import collection
from rayci.workload import Workload
from tests.models import ARCHITECTURES, testbed, tiny

SEQUENCES = "{sequences=8,length=32}"


def make(**changes: Any) -> Spec:
    base: dict[str, Any] = {"name": "t", "interventions": {"ft": {}}, "criteria": ["utility"]}
    return Spec.model_validate({**base, **changes})


@pytest.mark.parametrize(
    ("composition", "slack"),
    [
        ("ft{steps=1}", 0),
        (f"wanda@0.5{SEQUENCES}", 0),
        ("magnitude@2:4", 0),
        (f"sparsegpt@0.5{SEQUENCES}", 0),
        ("ft{steps=1} > magnitude@2:4", 0),  # what the edit moved is kept, of the rest the mask alone
        (f"rtn@3 > ft{{steps=1}} > gptq@4{SEQUENCES}", 0),
        ("rtn@4", 0),
        ("hqq@4", 0),
        ("magnitude@0.5 > hqq@4", 0),  # zeros, which are no level, by the mask that is kept
        ("rtn@nvfp4", 0),
        ("rtn@fp8", 0),
        (f"gptq@mxfp4{SEQUENCES}", 0),
        ("layerdrop@2{sequences=8,length=32}", 0),
        (f"gptq@4{SEQUENCES}", 0),
        (f"awq@4{SEQUENCES}", 0),
        ("rmu{max_batches=1}", 0),
        ("ga{samples=4}", 0),
        ("lora{variant=lora,steps=1,retain_weight=0}", 0),
        (f"wanda@0.25{SEQUENCES} > ft{{steps=1}} > rtn@4", 0),  # the mask twice: once more after the edit
        ("memit{documents=20,passes=2}", 1024),  # the contexts it made, beside the keys
    ],
)
def test_stored_bytes(composition: str, slack: int) -> None:
    spec = make()
    links = Planner(spec, Names(spec)).chain(composition)
    subject = testbed()
    subject.remember_base()
    for link in links:
        subject.apply(link.intervention, Context(collection(), batch_size=4), link.recompression)
    changed, kept = subject.changed(), [receipt.kept for receipt in subject.receipts]
    weights, base = (subject.matrices(held) for held in (subject.parameters_of(changed), subject.base_of(changed)))
    stored = sum(value.nbytes for value in Packed.of(weights, base, kept).tensors.values())
    stored += sum(value.nbytes for tensors in kept for value in tensors.values())
    foreseen = Footprint(Workload(sketch("testbed").subject, edits=4)).stage_bytes(links)
    assert foreseen <= stored <= foreseen + slack


def test_sure_is_an_upper_bound() -> None:
    made = registry.intervention("sure").configure("testbed", 70, {"settings": {"max_steps": 1}})
    subject = testbed()
    receipt = subject.apply(made, Context(collection()))
    real = sum(value.numel() for value in subject.parameters_of(receipt.changed).values())
    bound = sum(value.numel() for value in subject.parameters_of(Workload(subject).changed_by(made)).values())
    everything = sum(value.numel() for value in subject.model.parameters())
    assert real <= bound < everything / 2


class Unforeseen(Intervention):
    """A plug-in that does not say what it will change."""

    name = "unforeseen"
    kind = Kind.EDIT

    def apply(self, subject: Subject, context: Context) -> Receipt:
        return Receipt(())


def test_what_is_not_known_is_bounded_by_the_blocks() -> None:
    subject = sketch("testbed").subject
    names = Workload(subject).changed_by(Unforeseen())
    assert names == {name for name, _ in subject.model.named_parameters() if name.startswith("model.layers.")}
    assert Unforeseen().kept_bytes(subject) == 0


def test_a_layer_that_does_not_exist_is_bounded_too() -> None:
    subject = sketch("testbed").subject
    made = make(preset="published").configure(parse("ft").steps[0])
    assert Workload(subject).changed_by(made) == Workload(subject).changed_by(Unforeseen())


def test_the_peak_by_hand() -> None:
    # Two trials go on from wanda, two others from rtn.
    also = ["wanda@0.5 > ft", "wanda@0.5 > gd", "rtn@4 > ft", "rtn@4 > gd"]
    spec = make(compose={"singles": False, "also": also}, recompress="never")
    planner = Planner(spec, Names(spec))
    footprint = Footprint(Workload(sketch("testbed").subject))
    wanda, rtn = (footprint.stage_bytes(planner.chain(text)) for text in ("wanda@0.5", "rtn@4"))
    assert wanda != rtn
    whole = plan.Plan(spec, tuple(planner.trial(text, 0 if "ft" in text else None, 0) for text in also))

    def peak(workers: int, slow: str) -> int:
        seconds: dict[str, float] = {slow: 10.0}
        return footprint.peaks(whole, planner, workers, lambda stage: seconds.get(stage.chain, 1.0))[Keep.NONE]

    # What is built for a trial that takes long is used up before the other begins; two workers build both.
    assert peak(1, "wanda@0.5 > gd") == max(wanda, rtn)
    assert peak(2, "wanda@0.5 > gd") == peak(1, "rtn@4") == wanda + rtn
    assert footprint.peaks(plan.Plan(spec, whole.trials[:2]), planner)[Keep.NONE] == wanda
    assert footprint.peaks(plan.Plan(spec, whole.trials[:1]), planner)[Keep.NONE] == 0
    assert footprint.peaks(whole, planner)[Keep.SHARED] == wanda + rtn
    ends = sum(footprint.stage_bytes(planner.chain(text)) for text in also)
    assert footprint.peaks(whole, planner)[Keep.ALL] == wanda + rtn + ends


def test_the_peak_counts_what_is_built_from_stages() -> None:
    # C of a model goes with the last trial that goes on from it, whatever weights are kept.
    also = ["rtn@4 > memit", "rtn@3 > memit", "memit"]
    spec = make(compose={"singles": False, "also": also}, recompress="never", replicates=2)
    planner, work = Planner(spec, Names(spec)), Workload(sketch("testbed").subject)
    trials = [planner.trial(text, batch, 0) for text in also for batch in (0, 1)]
    size = planner.chain("memit")[0].intervention.built_bytes(work)
    assert size == 4 * 128**2
    wider, narrower = (Footprint(work).stage_bytes(planner.chain(text)) for text in ("rtn@4", "rtn@3"))
    peaks = Footprint(work).peaks(plan.Plan(spec, tuple(trials)), planner)
    assert peaks[Keep.NONE] == peaks[Keep.SHARED] == wider + narrower + 3 * size, (
        "the longest first: all models at once"
    )
    of_one = Footprint(work).peaks(plan.Plan(spec, tuple(trials[:2])), planner)
    assert of_one[Keep.NONE] == of_one[Keep.SHARED] == wider + size


def test_what_keeping_every_stage_takes() -> None:
    # The edited model before wanda runs again is a stage too, which criteria are measured on.
    spec = make(compose={"singles": False, "also": ["wanda@0.5 > ft"]}, recompress="refit")
    planner = Planner(spec, Names(spec))
    footprint = Footprint(Workload(sketch("testbed").subject))
    links = planner.chain("wanda@0.5 > ft")
    alone = plan.Plan(spec, (planner.trial("wanda@0.5 > ft", 0, 0),))
    assert len(links) == 3
    peaks = footprint.peaks(alone, planner)
    assert peaks[Keep.ALL] == sum(footprint.stage_bytes(links[:depth]) for depth in (1, 2, 3))
    assert peaks[Keep.SHARED] == peaks[Keep.NONE] == 0


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_method_is_foreseen_on_every_architecture(kind: str) -> None:
    subject = tiny(kind)
    parameters = {name for name, _ in subject.model.named_parameters()}
    for method in registry.INTERVENTIONS:
        cls = registry.intervention(method)
        made = cls.configure("testbed", cls.strength.grid[0] if cls.strength and cls.strength.grid else None)
        names = Workload(subject).changed_by(made)
        assert names and names <= parameters, method
        assert made.kept_bytes(subject) >= 0
        assert made.memory(Workload(subject)) > 0, method
