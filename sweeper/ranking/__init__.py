"""From the verdicts of runs to the value of a trial and the order of trials. Needs NumPy alone."""

# The names alone, so that the command line offers them without loading NumPy.
POLICIES = ("robust", "final", "best", "early", "lr_sensitivity")
