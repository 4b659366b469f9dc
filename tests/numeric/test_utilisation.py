"""Counted FLOPs against torch's own counter, which sees every product that is really computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from iqaflow.model import tiny
from iqaflow.model.packing import Pack, packer_for
from iqaflow.train import student
from iqaflow.train.objective import Objective
from iqaflow.train.sizing import utilisation

QUESTIONS = [("What distortion does the image show?", "noise"), ("Rate the quality of the image.", "poor")]


@pytest.mark.parametrize("changes", [{}, {"frozen": ("vision", "projector")}, {"frozen": ("vision",)}, {"tuning": "lora"}])
def test_counted_flops_are_those_of_torch(changes, small_config):
    model, processor = tiny.build([text for pair in QUESTIONS for text in pair], 0, 4096, 65536)
    model.set_attn_implementation("eager")  # every product of attention in sight of the counter
    model = student.tuned(model, small_config.train.model_copy(update=changes))
    packer = packer_for(model, processor)
    picture = np.random.default_rng(0).integers(0, 256, (160, 192, 3), dtype=np.uint8)
    batch = packer.collate([Pack([picture], ("image",), [packer.branch(("image",), *pair) for pair in QUESTIONS])])
    counted = utilisation.Flops(model).of(batch)
    with FlopCounterMode(display=False) as counter:
        loss, _ = Objective(model)(batch)
        loss.backward()
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_a_share_needs_a_known_peak(small_config):
    model, _ = tiny.build(["a"], 0, 4096, 65536)
    assert utilisation.Meter(model, torch.device("cpu"), "bf16").read(1.0) == {}


def test_peaks_go_by_the_most_telling_name():
    assert utilisation.peak("NVIDIA H100 PCIe") == 756e12
    assert utilisation.peak("NVIDIA H100 80GB HBM3") == 989e12
    assert utilisation.peak("NVIDIA A10G") == 70e12 and utilisation.peak("NVIDIA A10") == 125e12
    assert utilisation.peak("NVIDIA A100-SXM4-80GB") == 312e12 and utilisation.peak("NVIDIA L40") == 181e12
    assert utilisation.peak("NVIDIA RTX A1000") is None and utilisation.peak("a toaster") is None
