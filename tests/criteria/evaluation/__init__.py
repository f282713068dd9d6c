"""Tests of the fast paths against one option at a time."""
