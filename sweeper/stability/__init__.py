"""Judging a run on its whole horizon, from the full-resolution training loss. Needs NumPy alone."""
