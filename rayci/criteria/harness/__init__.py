"""Tasks of EleutherAI's lm-evaluation-harness as criteria: `lm_eval:<task>`; enter by `harness_task`."""
