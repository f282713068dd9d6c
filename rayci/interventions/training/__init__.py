"""Training: weights trained further here, or brought from where they were trained."""
