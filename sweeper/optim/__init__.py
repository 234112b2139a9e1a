"""The fused core: K configurations are rows of one tensor. Needs torch alone."""
