"""The version of sweeper: known where its package travels without being installed."""

VERSION = "0.1.0"
