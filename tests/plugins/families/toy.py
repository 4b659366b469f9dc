"""Bases of the type `toy_vl`, which are Qwen's by another name."""

from iqaflow.model.families.qwen import Qwen


class Toy(Qwen):
    types = ("toy_vl",)


FAMILY = Toy()
