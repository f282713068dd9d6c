"""Apply, measure, record: one composition after the other on a loaded model."""
