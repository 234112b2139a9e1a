"""Batch size: what a step costs, how many it takes, and where runs end."""
