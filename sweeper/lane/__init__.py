"""A lane: keeps a pack full of runs, records what they do, and saves and loads their rows."""
