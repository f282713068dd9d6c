"""The command line: wiring, and tables for people."""
