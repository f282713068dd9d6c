# %% [markdown]
# # From a spec to a model: in which order?
#
# A small sweep on the embedded testbed, two minutes on one core: knowledge is edited into a model that is to be stored
# in few bits. Should one edit first, or quantise first? `docs/example.py` holds the cells;
# `docs/run_example.py` runs them and writes this page with what they print.
#
# ## The spec
#
# A mapping is the same as a page of YAML, and so are its errors.

# %%
from pathlib import Path

from rayci import analysis, apply, save, trials

spec = {
    "name": "example",
    "model": "testbed",
    "replicates": 5,
    "interventions": {"ft": {}, "rtn": {"bits": {"sweep": [3, 4, 8]}}},
    "compose": {"pairs": "across_kinds", "orders": "both", "singles": True},
    "criteria": ["edit_success", "edit_generalization", "utility", "perplexity", "avg_bits"],
}

# %% [markdown]
# ## What it will run
#
# Stages that trials have in common are computed once.

# %%
plan = trials.plan(spec)
plan

# %%
plan.summary()

# %% [markdown]
# ## Running it
#
# The run folder is the same as on the command line; launched again, what is done is not done again. A callback sees
# every stage as it is done.


# %%
class Watch(trials.Callback):
    def stage_done(self, trial, stage, values):
        if stage.chain == "ft > rtn@4":
            print(f"{stage.chain}, batch {stage.replicate}: edit success {values['edit_success']:.2f}")


run = trials.launch(spec, out="runs/example", workers=1, callbacks=[Watch()])
run

# %% [markdown]
# ## The table
#
# One row per stage, criterion and edit batch: a pandas frame, an Arrow table, whatever one likes.

# %%
table = analysis.load("runs/example")
frame = table.frame
frame[frame.final & (frame.criterion == "edit_success")].groupby("composition").value.mean().round(2)

# %% [markdown]
# ## Composability
#
# Order-free error: how far the better order stays from the ideal. Order sensitivity: how much the orders differ. Both
# are areas over the bits. The gap has its side: below zero, the second order is the better one.

# %%
columns = ["criterion", "order_free_error", "order_sensitivity", "gap", "gap_low", "gap_high", "verdict"]
metrics = table.metrics(criteria=["edit_success", "edit_generalization"])
metrics[columns].round(3)

# %% [markdown]
# ## The answer in words

# %%
for sentence in analysis.which_order(table, at="bits=4").sentences:
    print(sentence)

# %% [markdown]
# ## Which chain to build
#
# Of all that were measured, the one with the fewest bits that meets the needs; and how sure that is over edit batches.

# %%
best = analysis.recommend(table, needs=["edit_success>=0.9", "utility>=0.9"], minimize="avg_bits")
for option in best.options[:3]:
    values = ", ".join(f"{name} {estimate.mean:.3g}" for name, estimate in option.estimates.items())
    print(f"{option.chain.composition:12} {values}; the best with probability {option.chance_best:.2f}")

# %% [markdown]
# ## Building the model
#
# Any chain can be applied to a model object, a folder or a hub id, and saved as a checkpoint that transformers loads;
# the last quantiser's weights are packed, at their real size. `rayci apply` does the same, also from a run's own stage.

# %%
print(best.command("runs/example"))

# %%
subject = apply("testbed", best.first.chain.composition)
subject

# %%
save(subject, "runs/example-model")
for path in sorted(Path("runs/example-model").iterdir()):
    print(f"{path.stat().st_size:9,} bytes  {path.name}")
