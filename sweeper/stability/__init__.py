"""Judging a run on its whole horizon, from the full-resolution loss. Needs NumPy alone."""
