"""The composability table: one row per criterion and set of methods, and what is counted from it."""
