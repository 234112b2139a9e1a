"""Published failures and claims, reproduced from real runs: what makes docs/reproductions.md."""
