"""What came out of a sweep: the ranking, and settings to take along."""
