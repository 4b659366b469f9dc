"""A training rank with one fault put in: `python tests/faults/spoilt.py KIND JOB.json`. The rest is the worker as it is.

`nan-2`: the picture of step 2 is full of NaN, as bad memory would give. `memory`: micro-batches of more than one pack ask the
allocator for more memory than any machine has.
"""

import sys
from pathlib import Path

from iqaflow.train.batches import Batches
from iqaflow.train.ranks import worker

KIND, make = sys.argv[1], Batches.make


def spoilt(self, step, micro):
    import torch

    batch = make(self, step, micro)
    if f"nan-{step}" == KIND:
        batch["pixel_values"] = batch["pixel_values"] * float("nan")
    if KIND == "memory" and self.train.micro_batch > 1:
        torch.empty(2**60)
    return batch


Batches.make = spoilt
sys.exit(worker.run_rank(Path(sys.argv[2])))
