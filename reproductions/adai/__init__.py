"""Claims on adaptive inertia (Xie et al. 2022) on a small convolutional network."""
