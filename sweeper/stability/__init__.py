"""Whether a run stays good: verdicts and forecasts (NumPy alone), curvature probes (torch)."""
