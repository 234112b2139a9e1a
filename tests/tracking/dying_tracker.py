"""Runs tracking processes of one sweep, one after another, that die at given SQL statements.

python dying_tracker.py <sweep folder> <statement> ...; the last one lives. Prints for each one
the statement that it died at, or that it ended. Each process is a fork: MLflow and Optuna are
loaded once.
"""

import os
import signal
import sys
from pathlib import Path

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - loaded once
from sqlalchemy import Engine, event

from sweeper.study import mirror  # noqa: F401
from sweeper.tracking import process


def track(folder: Path, deadline: int) -> None:
    """Record the sweep; SIGKILL to itself before a statement of any of its databases."""
    count = 0

    def die(*args: object) -> None:
        nonlocal count
        count += 1
        if count == deadline:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", die)
    code = process.main(folder)
    print(f"ended with {code} after {count}", flush=True)
    os._exit(code)


for number in [int(text) for text in sys.argv[2:]] + [0]:
    child = os.fork()
    if not child:
        track(Path(sys.argv[1]), number)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        print(f"died at {number}", flush=True)
