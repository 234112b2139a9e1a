"""Stack Overflow 42327543, "Adam optimizer goes haywire after 200k batches", at a small size."""
