"""Comparison with other libraries, each in its own environment."""
