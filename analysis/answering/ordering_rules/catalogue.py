"""The fourteen claims about order, with the papers that make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rayci.analysis.answering.ordering_rules import on_methods, on_order, on_recovery, on_strength
from rayci.analysis.answering.ordering_rules.compared import Compared, Judged

COMPOSABLE, FAILURE = "arXiv 2407.06483", "arXiv 2410.16454"


@dataclass(frozen=True)
class Rule:
    """One claim and how a table is asked about it."""

    number: int
    claim: str
    source: str | None
    """The paper that makes it; None for a claim of no single one."""
    needs: str
    """What a table must hold for an answer."""
    judge: Callable[[Compared], Judged]
    across_models: bool = False
    """Whether models of one table can be judged together."""


RULES = (
    Rule(
        1, "Editing criteria fall as compression rises", COMPOSABLE,
        "an editor with a compressor at several strengths", on_strength.edits_fall,
    ),
    Rule(
        2, "Order matters: pruning first beats editing first; GPTQ wants the edit first, AWQ the compression first",
        COMPOSABLE, "a pruner, GPTQ and AWQ with an editor in both orders", on_order.order_matters,
    ),
    Rule(
        3, "Composability differs within a kind: AWQ against GPTQ; MEMIT is the most composable editor", COMPOSABLE,
        "AWQ and GPTQ with one partner, MEMIT and another editor with one partner", on_methods.differs_within_a_kind,
    ),
    Rule(
        4, "Similar general utility hides different editing criteria", COMPOSABLE,
        "editors with a partner, and a criterion of general utility", on_strength.utility_hides_edits,
    ),
    Rule(
        5, "Unlearning a compressed model is harder", COMPOSABLE,
        "an unlearner with a compressor in both orders, and a criterion of forgetting", on_order.unlearning_first,
    ),
    Rule(
        6, "GD and RMU have similar order-free error, GD the higher order sensitivity", COMPOSABLE,
        "GD and RMU with one partner in both orders", on_methods.gd_against_rmu,
    ),
    Rule(
        7, "RMU composes with every editor, GA with none", COMPOSABLE,
        "RMU and GA with two editors, and these alone", on_methods.rmu_with_every_editor,
    ),
    Rule(
        8, "Over all pairs, RMU is the most composable unlearner", COMPOSABLE,
        "RMU and another unlearner with one partner in both orders", on_methods.rmu_over_all,
    ),
    Rule(
        9, "4-bit quantisation recovers forgotten knowledge, 8-bit does not", FAILURE,
        "an unlearner before a quantiser at 4 and at 8 bits, and both alone", on_recovery.four_bits_recover, True,
    ),
    Rule(
        10, "SURE prevents that", FAILURE,
        "SURE and another unlearner before a quantiser at 4 bits, and all alone", on_recovery.sure_prevents, True,
    ),
    Rule(
        11, "The intervention that perturbs less goes first, the more so the more the single damages differ",
        "arXiv 2603.18426", "a pruner with a quantiser in both orders, and both alone", on_order.milder_first,
    ),
    Rule(
        12, "Sparsity before quantisation beats the reverse, and the joint error exceeds the sum", "arXiv 2405.20935",
        "a pruner with a quantiser in both orders, both alone and neither", on_order.sparsity_first,
    ),
    Rule(
        13, "Edits survive compression worse the larger the batch", None,
        "an editor with batches of two sizes before a compressor, and alone", on_strength.larger_batches_survive_worse,
    ),
    Rule(
        14, "Updates in LoRA form survive 4 bits better than full ones", "arXiv 2602.13151",
        "LoRA and full updates of a kind before a quantiser at 4 bits, and alone", on_strength.lora_survives,
    ),
)  # fmt: skip
