"""The projection of a sweep into MLflow, replayable, in a process of its own."""
