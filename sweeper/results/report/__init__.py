"""A sweep on one page: self-contained HTML and its figures as PNG, one section per file."""

FOLDER = "report"
