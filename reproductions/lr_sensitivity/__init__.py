"""LR sensitivity of a small language model (Wortsman et al. 2023)."""
