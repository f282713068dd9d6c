"""Arrays in, numbers out: exact areas under straight lines, composability, bounds, intervals, verdicts."""
