"""In words and short tables: which order is better, by how much, whether that is shown, what it costs."""
