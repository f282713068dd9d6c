"""From a page of YAML to the plan: what is asked for, what is shared, in which order it runs."""
