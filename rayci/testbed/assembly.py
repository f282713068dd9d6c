"""The testbed's collection: every part filled, every draw seeded."""

from __future__ import annotations

from rayci.data.records import PARTS, Collection
from rayci.testbed.documents import build_texts
from rayci.testbed.questions import edits, never_edited, split_questions
from rayci.testbed.stable_draws import Draw
from rayci.testbed.tales import tales
from rayci.testbed.world import build_world

COLLECTION_SEED = 100
"""The draw that ships. Other seeds give other edits, questions and texts of the same world, for tuning."""
SOURCE = "the testbed's embedded world"


def build(seed: int = COLLECTION_SEED) -> Collection:
    """The collection of one seed; the passages that the checkpoint was trained on are those of the shipped seed."""
    world = build_world()
    texts = build_texts(seed)
    hazard, forget_questions = split_questions(world.compounds, Draw(seed, "hazard"))
    utility, retain_questions = split_questions(world.creatures, Draw(seed, "utility"))
    finetune, finetune_questions = tales(never_edited(world, seed), seed)
    return Collection(
        edits=edits(world, seed),
        forget=texts.forget,
        retain=texts.retain,
        calibration=texts.calibration,
        evaluation=texts.evaluation,
        hazard=hazard,
        utility=utility,
        passages=texts.passages,
        holdout=texts.holdout,
        prompts=texts.prompts,
        forget_questions=forget_questions,
        retain_questions=retain_questions,
        finetune=finetune,
        finetune_questions=finetune_questions,
        sources=dict.fromkeys(PARTS, SOURCE),
    )
