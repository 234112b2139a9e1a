"""A recommended setting as text for other frameworks; see docs/export.md."""
