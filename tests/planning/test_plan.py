"""The plan: what is asked, what is shared, and what identifies a stage."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from rayci.data.records import Collection
from rayci.fingerprint import canonical_json, fingerprint
from rayci.intervention import Intervention
from rayci.interventions.unlearning.npo import NegativePreference
from rayci.kinds import Recompress
from rayci.model.module_maps import MODULE_MAPS
from rayci.planning import identity, plan, spec
from rayci.planning.composition import Step
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import parse
from rayci.testbed import checkpoint, collection

QUICKSTART = Path(__file__).parents[2] / "trials" / "specs" / "quickstart.yaml"


def make(**changes: Any) -> Spec:
    base: dict[str, Any] = {
        "name": "t",
        "interventions": {"ft": {}, "wanda": {"sparsity": {"sweep": [0.25, 0.5]}}, "gd": {}},
        "criteria": ["edit_success", "utility"],
        "replicates": 3,
    }
    return Spec.model_validate({**base, **changes})


def test_quickstart_counts_by_hand() -> None:
    # 9 settings; pairs across kinds: ft×wanda 6, ft×rtn 8, gd×wanda 6, gd×rtn 8, ft×gd 2.
    # With an edit (×5 replicates): 1 + 6 + 8 + 2 = 17; without: 8 + 14 = 22.
    summary = plan.make(spec.load(QUICKSTART)).summary()
    assert summary["compositions"] == 39
    assert summary["trials"] == 17 * 5 + 22
    # Singles 8 + ft ×5; pairs with an edit 16 ×5, without 14; refits: compressor first, 7 with ft ×5, 7 with gd.
    assert summary["stages_computed"] == (8 + 5) + (80 + 14) + (35 + 7)


def test_a_grid_without_recompression() -> None:
    grid = [f"wanda@{g}" for g in (0.25, 0.35, 0.45, 0.55, 0.65, 0.75)] + [f"rtn@{b}" for b in range(2, 9)]
    singles, others = [*grid, "ft", "gd"], ["ft", "gd"]
    pairs = [f"{a} > {b}" for c in grid for o in others for a, b in ((c, o), (o, c))]
    made = plan.make(
        make(interventions={"ft": {}}, compose={"singles": False, "also": singles + pairs}, recompress="never")
    )
    summary = made.summary()
    assert summary["compositions"] == len(singles) + len(pairs)
    assert len(made.trials) > summary["compositions"]  # an edit's replicates
    once = plan.make(made.spec.model_copy(update={"replicates": 1})).summary()
    assert once["stages_computed"] == len(singles) + len(pairs)
    assert once["stages_asked"] == len(singles) + 2 * len(pairs)


def test_stages_are_shared_as_content_says() -> None:
    made = plan.make(make(recompress="never", replicates=1))
    chains = [stage.chain for trial in made.trials for stage in trial.stages]
    assert len(made.stages) == len(set(chains))  # one replicate, one seed: a chain is a stage
    assert made.summary()["stages_asked"] > made.summary()["stages_computed"]


def test_replicates_and_seeds() -> None:
    made = plan.make(make(seeds=2))
    by_composition: dict[str, set[tuple[int | None, int | None]]] = {}
    for trial in made.trials:
        by_composition.setdefault(trial.composition, set()).add((trial.replicate, trial.seed))
    assert by_composition["ft"] == {(0, None), (1, None), (2, None)}  # an edit without draws
    assert by_composition["gd"] == {(None, 0), (None, 1)}  # draws without an edit
    assert len(by_composition["ft > gd"]) == 6
    before = {stage.fingerprint for trial in made.trials for stage in trial.stages if stage.chain == "ft"}
    assert len(before) == 3  # the stage before the draw is shared by both seeds


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"name": "u"}, True),
        ({"resources": {"cpus": 2, "threads": 2}}, True),
        ({"criteria": ["utility"]}, True),
        ({"replicates": 2}, True),
        ({"interventions": {"ft": {}, "wanda": {"sparsity": 0.25, "forward_batch": 3}}}, True),
        ({"seed": 1}, False),
        ({"dtype": "bfloat16"}, False),
        ({"interventions": {"ft": {}, "wanda": {"sparsity": 0.25, "sequences": 7}}}, False),
        ({"model": "other/model"}, False),
    ],
)
def test_what_identifies_a_stage(changes: dict[str, Any], same: bool) -> None:
    assert (fingerprint_of("wanda@0.25", make()) == fingerprint_of("wanda@0.25", make(**changes))) is same


def fingerprint_of(composition: str, given: Spec) -> str:
    return plan.Planner(given, plan.Names(given)).trial(composition, None, 0).stages[-1].fingerprint


def test_a_stage_is_identified_by_the_version_of_what_sure_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    given = make(interventions={"sure": {"method": "npo"}})
    before = fingerprint_of("sure@90", given)
    assert fingerprint_of("sure@90", given) == before
    monkeypatch.setattr(NegativePreference, "version", NegativePreference.version + 1)
    assert fingerprint_of("sure@90", given) != before


def test_equal_module_maps_share_stages_and_others_do_not() -> None:
    def stages(modules: dict[str, Any] | None) -> set[str]:
        given = make(model="testbed", modules=modules, interventions={"wanda": {"sparsity": 0.5}}, criteria=["utility"])
        sweep = Sweep.open(given)
        return {sweep.fingerprint, *sweep.planner.plan().stages}

    known = {name: paths for name, paths in asdict(MODULE_MAPS["llama"]).items() if paths}
    assert stages(None) == stages(known)
    assert not stages(None) & stages({**known, "mlp_in": ["mlp.up_proj"]})


def test_a_stage_is_identified_by_every_part_that_its_step_reads_beside_the_edit_batch() -> None:
    def stage(data: Collection) -> str:
        given = make(model="testbed", interventions={"memit": {}}, criteria=["utility"], edit_batch=5)
        return Sweep(given, checkpoint(), data).planner.trial("memit", 0, 0).stages[-1].fingerprint

    known = collection()
    assert stage(known) == stage(replace(known, utility=known.utility[1:]))
    assert stage(known) != stage(replace(known, calibration=known.calibration[1:]))  # stands in for covariance_text
    assert stage(known) != stage(replace(known, edits=known.edits[1:]))


def test_a_measurement_is_identified_by_its_draw_where_it_draws() -> None:
    def measurement(sweep_seed: int, seed: int | None, samples: int | None, replicate: int | None = None) -> str:
        given = make(model="testbed", seed=sweep_seed, criteria={"forget_recall": {"samples": samples}})
        (criterion,) = given.measured()
        return Sweep.open(given).criterion_fingerprint(criterion, replicate, seed)

    assert measurement(0, None, 8) == measurement(0, 0, 8)  # the untouched model is measured with the first seed
    assert len({measurement(0, 0, 8), measurement(1, 0, 8), measurement(0, 1, 8), measurement(0, 0, 8, 1)}) == 4
    assert measurement(0, 0, None) == measurement(1, 1, None, 1)  # all questions are asked


def test_policy_shares_what_comes_before_it() -> None:
    stages = {}
    for policy in ("refit", "reproject", "never"):
        given = make(recompress=policy)
        stages[policy] = plan.Planner(given, plan.Names(given)).trial("wanda@0.25 > ft", 0, 0).stages
    assert stages["refit"][2].fingerprint == stages["never"][2].fingerprint
    assert stages["refit"][3].fingerprint != stages["reproject"][3].fingerprint
    assert [stage.final for stage in stages["refit"]] == [True, True, False, True]
    assert [stage.final for stage in stages["never"]] == [True, True, True]


def test_first_trial_with_a_stage_owns_it() -> None:
    made = plan.make(make())
    seen: set[str] = set()
    for trial in made.trials:
        for stage in trial.stages:
            assert (made.owners[stage.fingerprint] == trial.id) is (stage.fingerprint not in seen)
        seen |= {stage.fingerprint for stage in trial.stages}
    assert len({trial.id for trial in made.trials}) == len(made.trials)


def test_orders_pairs_and_triples() -> None:
    def texts(**compose: Any) -> set[str]:
        given = make(
            interventions={"ft": {}, "wanda": {"sparsity": 0.5}, "rtn": {"bits": 4}, "gd": {}}, compose=compose
        )
        return {str(composition) for composition in plan.compositions(given)}

    assert texts(pairs="none") == {"ft", "wanda@0.5", "rtn@4", "gd"}
    assert texts(singles=False, pairs="within_kinds") == {"wanda@0.5 > rtn@4", "rtn@4 > wanda@0.5"}
    assert len(texts(singles=False, pairs="all")) == 12
    assert texts(singles=False, orders="listed") == {
        "ft > wanda@0.5", "ft > rtn@4", "ft > gd", "wanda@0.5 > gd", "rtn@4 > gd",
    }  # fmt: skip
    assert len(texts(singles=False, pairs="none", triples="across_kinds")) == 12
    assert texts(singles=False, pairs=[["ft", "gd"], ["rtn", "gd"]]) == {
        "ft > rtn@4", "rtn@4 > ft", "ft > gd", "gd > ft", "gd > rtn@4", "rtn@4 > gd",
    }  # fmt: skip
    assert texts(singles=False, orders="listed", pairs="none", triples=[["gd"], ["ft"], ["rtn", "wanda"]]) == {
        "gd > ft > rtn@4", "gd > ft > wanda@0.5",
    }  # fmt: skip
    assert texts(singles=False, orders="listed", pairs=[["ft", "gd"], ["gd", "ft"]]) == {"ft > gd"}
    assert texts(singles=False, pairs="none", also=["rtn@8 > ft > rtn@8"]) == {"rtn@8 > ft > rtn@8"}


def test_any_setting_can_be_swept() -> None:
    source = parse("interventions: {ft: {lr: {sweep: [1e-3, 2e-3]}}}\ncriteria: [utility]\n", "s.yaml")
    texts = {str(composition) for composition in plan.compositions(spec.from_source(source))}
    assert texts == {"ft{lr=0.001}", "ft{lr=0.002}"}


@pytest.mark.parametrize("name", ["published_llama3_8b", "published_testbed"])
def test_the_published_grid(name: str) -> None:
    # 22 compressor settings, 3 editors, 3 unlearners: 28 singles and 2 · (22·3 + 22·3 + 3·3) ordered pairs.
    made = plan.make(spec.load(QUICKSTART.with_name(f"{name}.yaml")))
    assert made.summary()["compositions"] == 28 + 282
    # With an edit ×10: 3 singles, 132 pairs with a compressor, 18 with an unlearner; without: 25 singles, 132 pairs.
    assert made.summary()["trials"] == 10 * (3 + 132 + 18) + 25 + 132
    once = made.spec.model_copy(update={"replicates": 1, "recompress": Recompress.NEVER})
    assert plan.make(once).summary()["stages_computed"] == 310
    assert plan.make(once).summary()["stages_asked"] == 592


@pytest.mark.parametrize("name", ["three_way", "three_way_testbed"])
def test_three_way(name: str) -> None:
    # 7 compressor settings, 1 editor, 2 unlearners: 10 singles; pairs 2·(7 + 14 + 2); triples 6·7·2.
    made = plan.make(spec.load(QUICKSTART.with_name(f"{name}.yaml")))
    assert made.summary()["compositions"] == 10 + 46 + 84
    # With an edit ×3: 1 single, 14 + 4 pairs, 84 triples; without: 9 singles, 28 pairs.
    assert made.summary()["trials"] == 3 * (1 + 18 + 84) + 9 + 28
    orders = {tuple(step.split("@")[0] for step in t.composition.split(" > ")) for t in made.trials}
    assert {order for order in orders if set(order) == {"memit", "gd", "awq"}} == set(
        itertools.permutations(("memit", "gd", "awq"))
    )


@pytest.mark.parametrize(
    ("name", "twin"), [("published_llama3_8b", "published_testbed"), ("three_way", "three_way_testbed")]
)
def test_a_testbed_twin_has_the_same_grid(name: str, twin: str) -> None:
    large, small = (spec.load(QUICKSTART.with_name(f"{each}.yaml")) for each in (name, twin))
    assert (small.model, large.model) == ("testbed", "meta-llama/Meta-Llama-3-8B")
    for field in ("interventions", "compose", "replicates", "edit_batch", "seeds"):
        assert getattr(small, field) == getattr(large, field), field
    twins = {"wmdp": "hazard", "mmlu": "utility"}  # the testbed's questions are its own
    assert list(small.criteria) == [twins.get(criterion, criterion) for criterion in large.criteria]


def wide(values: int) -> Spec:
    """Triples of three methods with as many settings each: 6 · values³ compositions."""
    swept = {"ft": "lr", "wanda": "sparsity", "gd": "alpha"}
    grid = [(1 + index) / (values + 1) for index in range(values)]
    return make(
        interventions={method: {name: {"sweep": grid}} for method, name in swept.items()},
        compose={"triples": "across_kinds", "pairs": "none", "singles": False},
        replicates=2,
    )


def test_a_plan_makes_each_thing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: Counter[str] = Counter()
    fingerprints: Counter[str] = Counter()
    configure = Spec.configure

    def counting(self: Spec, step: Step) -> Intervention:
        configured[str(step)] += 1
        return configure(self, step)

    def hashing(value: Any) -> str:
        fingerprints[canonical_json(value)] += 1
        return fingerprint(value)

    given = wide(6)
    monkeypatch.setattr(Spec, "configure", counting)
    monkeypatch.setattr(plan, "fingerprint", hashing)
    monkeypatch.setattr(identity, "fingerprint", hashing)
    made = plan.make(given)
    assert len(made.trials) == 2 * 6 * 6**3
    assert configured == dict.fromkeys(configured, 1) and len(configured) == 3 * 6
    # one a trial for its id, one for each step (an edit's for each batch, re-compression apart), the root, names
    assert max(fingerprints.values()) <= 4 * 6  # names of data and model, asked once a step
    assert sum(fingerprints.values()) < len(made.trials) + 10 * 3 * 6
    objects = {id(stage) for trial in made.trials for stage in trial.stages}
    assert len(objects) == len(made.stages)  # trials share the stages they have in common


def test_memory_of_a_plan_grows_with_its_distinct_stages() -> None:
    plan.make(wide(2))  # imports and caches
    found = []
    for values in (4, 6):
        given = wide(values)
        gc.collect()
        tracemalloc.start()
        made = plan.make(given)
        found.append(tracemalloc.get_traced_memory()[0] / (len(made.trials) + len(made.stages)))
        tracemalloc.stop()
    assert max(found) < 1500  # bytes each; 100 000 trials with 200 000 stages are then below half a GB
    assert found[1] < 1.2 * found[0]


def test_a_step_is_configured_from_its_text_as_workers_do() -> None:
    given = make(interventions={"rtn": {"bits": {"sweep": [4, 8]}}, "ft": {"lr": {"sweep": [1e-3, 2e-3]}}})
    whole = plan.Planner(given, plan.Names(given))
    for trial in whole.plan().trials:
        alone = plan.Planner(given, plan.Names(given)).trial(trial.composition, trial.replicate, trial.seed)
        assert alone == trial
