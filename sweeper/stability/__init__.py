"""Whether a run stays good: verdicts on its loss (NumPy alone) and curvature probes (torch)."""
