"""Published failures and claims, reproduced from real runs: the source of docs/reproductions.md."""
