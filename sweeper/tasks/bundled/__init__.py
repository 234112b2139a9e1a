"""Tasks that come with sweeper, a file each; `build` makes it."""
