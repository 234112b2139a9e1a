"""The one authority of a sweep: asks Optuna, leases runs, takes reports, decides. Without Ray."""
