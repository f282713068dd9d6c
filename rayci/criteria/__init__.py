"""Built-in criteria, a family a file; `rayci.registry` has their names.

Of edits: `editing`, `editing_unaided` (both over `editing_criterion`), `edit_likelihood`. Of right options: `choices`,
`knowledge`, `truthful`, `flips`. Of what the model writes: `memorization`, `probes`, `trivia`, `fluency` (over
`written_text`), `recall`. Of running text: `perplexity`, `divergence` (over `running_text`), `leakage`. Of the weights
and the device: `cost`, `update_survival`, `device_run`. Any task of lm-eval: `harness`.
"""
