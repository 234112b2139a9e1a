"""Six tasks, each searched once: what several rankings pick, at four times the horizon."""
