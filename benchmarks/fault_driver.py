"""`python -m benchmarks.fault_driver ADDRESS SPEC`: a driver on a Ray cluster that is there."""

import sys
from pathlib import Path

from sweeper.runtime.launch import launch
from sweeper.runtime.study_actor import NAMESPACE

if __name__ == "__main__":
    import ray

    ray.init(address=sys.argv[1], namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
    launch(Path(sys.argv[2]))
