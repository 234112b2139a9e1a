"""`sweeper diagnose`: why a trial trains badly, step by step, each claim with its figure.

The order is that of a lecture's guide to failed training (Lee, Machine Learning 2022): is the
training loss high, and then is it the model or the optimization; is it a critical point; do steps
bounce or stall; is what was held out worse. Before it comes what no guide has: late instability.
"""
