"""Sweeps in this process, or on Ray."""

import os

# Ray reads these when it is imported. A sweep has its own progress, loggers and retries.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Else a late call of Tune would start a second Ray after ours was shut down.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
