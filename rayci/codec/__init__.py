"""Weights as few bits and back, exactly: bits side by side, codes of a grid, and the smallest form of a weight."""
