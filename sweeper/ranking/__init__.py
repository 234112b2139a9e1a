"""From the verdicts of runs to the value of a trial and the order of trials. Needs NumPy alone."""
