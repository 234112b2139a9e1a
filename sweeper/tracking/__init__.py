"""The projection of a sweep into MLflow: a process of its own, replayable. MLflow lives here only."""
