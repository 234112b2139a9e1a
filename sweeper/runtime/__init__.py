"""Running a sweep: in this process, or as lanes on Ray Tune."""
