"""A training rank that hangs: `python tests/faults/hung.py KIND JOB.json`. The rest is the worker as it is.

| KIND | rank 1 |
|---|---|
| import | sleeps before its first beat, in the first attempt |
| stuck | sleeps for ever, alive, before its batch of step 3, in the first attempt |
| always | the same in every attempt |
| slow:S | sleeps S seconds before every batch |
| end | stops itself when all is done, as a process does that hangs while it is torn down |
"""

import os
import signal
import sys
import time
from pathlib import Path

(KIND, _, SECONDS), JOB = sys.argv[1].partition(":"), Path(sys.argv[2])
MINE = os.environ["RANK"] == "1"


def first() -> bool:
    """Whether this is the first attempt."""
    note = JOB.with_name("hung-before")
    before = note.exists()
    note.touch()
    return not before


if KIND == "import" and MINE and first():
    time.sleep(600)

from iqaflow.train.batches import Batches  # noqa: E402
from iqaflow.train.ranks import worker  # noqa: E402

make = Batches.make


def hung(self, step, micro):
    if MINE and KIND == "slow":
        time.sleep(float(SECONDS))
    if MINE and step == 2 and (KIND == "always" or (KIND == "stuck" and first())):
        time.sleep(600)
    return make(self, step, micro)


Batches.make = hung
code = worker.run_rank(JOB)
if KIND == "end" and MINE:
    os.kill(os.getpid(), signal.SIGSTOP)
sys.exit(code)
