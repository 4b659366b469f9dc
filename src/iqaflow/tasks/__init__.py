"""The tasks of the three papers, one file each: its questions, its answers, their truth.

A task file defines `questions(scene, reference, rng, plain=False) -> list[Exchange]`; `rate` compares two scenes instead.
Training questions come in many wordings (`tasks.phrasing`); `plain` ones are worded as tests word them, each once. Every
answer is read by the one parser, `grammar.parse`.
"""

from __future__ import annotations

import importlib
from typing import Any

SINGLE = ("identify", "score", "describe", "describe_local", "ground", "refer", "vqa")
PAIR = ("rate",)
FULL_REFERENCE = ("identify", "score", "describe")  # asked with the undistorted image beside it, too


def module(task: str) -> Any:
    """The task's module. Raises ValueError for a name that is not a task."""
    if task not in (*SINGLE, *PAIR):
        raise ValueError(f"Unknown task {task!r}; choose one of {', '.join((*SINGLE, *PAIR))}.")
    return importlib.import_module(f"iqaflow.tasks.{task}")


def parse(task: str, answer: str) -> Any:
    """An answer as `grammar.Answer`; one grammar serves all tasks."""
    from iqaflow.tasks import grammar

    module(task)
    return grammar.parse(answer)
