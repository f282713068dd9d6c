"""Apply, measure, write rows: one composition after the other on a loaded model."""
