"""What the literature says about order, each claim a test on a result table: yes, no or undecided, with the numbers."""
