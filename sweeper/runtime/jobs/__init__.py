"""Sweeps on a cluster that is reached by HTTP alone, through the Ray Jobs API."""
