"""Judging a run on its whole horizon, and forecasting its instability. Needs NumPy alone."""
