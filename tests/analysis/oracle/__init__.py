"""Analysis one object a cell and one cell after the other: what the columnar engine must equal."""
