"""`sweeper lr-range`: the learning-rate range test of a spec, run, told and drawn."""
