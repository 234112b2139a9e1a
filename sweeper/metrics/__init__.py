"""Everything that sweeper says of runs and trials by a name: what it means, its unit, its formula.

Plain data, the one place where this is written; docs/metrics.md is made of it, and a test compares
it with what a real sweep has. The values are computed where `home` says.
"""

from sweeper.metrics.metric import Metric
from sweeper.metrics.run import RUN
from sweeper.metrics.series import SERIES
from sweeper.metrics.tracking import CURVES, PARENT, TAGS, TRACKED
from sweeper.metrics.trial import COLUMNS, STRESS, TRIAL

__all__ = [
    "Metric",
    "RUN",
    "TRIAL",
    "STRESS",
    "COLUMNS",
    "SERIES",
    "TRACKED",
    "CURVES",
    "PARENT",
    "TAGS",
]
