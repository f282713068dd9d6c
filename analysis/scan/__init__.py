"""From a result table to arrays: where a table comes from, its cells, the curves and samples they make."""
