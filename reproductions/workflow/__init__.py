"""Range test, cyclical schedules, restarts and 1cycle against the 3e-4 Adam of the joke."""
