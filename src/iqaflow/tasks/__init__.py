"""The tasks of the three papers, one file each: its questions, its answers, their truth, what they earn (task.py).

A module that defines `TASK` is a task; the others beside it are what tasks share. Every list of tasks is made here. Every answer
is read by the one parser, `grammar.parse`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from iqaflow.core.plugins import KINDS

if TYPE_CHECKING:
    from iqaflow.tasks.grammar import Answer
    from iqaflow.tasks.task import OnePicture, Task, TwoPictures

Ask = TypeVar("Ask")


@functools.cache
def known() -> dict[str, Task[Any]]:
    """All tasks by name, in the order of tables. Raises ValueError if a file's task has another name than the file."""
    by_name = {name: module.TASK for name, module in KINDS["tasks"].modules().items()}
    if wrong := [name for name, task in by_name.items() if task.name != name]:
        raise ValueError(f"the file of task {by_name[wrong[0]].name!r} is called {wrong[0]}.py: name it like the task")
    return dict(sorted(by_name.items(), key=lambda entry: (entry[1].place, entry[0])))


def find(name: str) -> Task[Any]:
    """The task of a name. Raises ValueError for a name that is not a task."""
    if name not in known():
        raise ValueError(f"Unknown task {name!r}; choose one of {', '.join(known())}.")
    return known()[name]


def names() -> tuple[str, ...]:
    """In the order of tables; a task's place here is its number in training."""
    return tuple(known())


def single() -> list[Task[OnePicture]]:
    """Those about one image or its regions, in the order they are asked."""
    return _in_order(task for task in known().values() if task.about != "pair")


def with_reference() -> list[Task[OnePicture]]:
    """Those about one image that are asked with the undistorted image beside it, too."""
    return [task for task in single() if task.reference]


def pairs() -> list[Task[TwoPictures]]:
    """Those that compare two images."""
    return _in_order(task for task in known().values() if task.about == "pair")


def benchmarked() -> tuple[str, ...]:
    """Names in the order of the benchmark."""
    return tuple(sorted(known(), key=lambda name: (find(name).benchmarked, name)))


def parse(task: str, answer: str) -> Answer:
    """An answer as `grammar.Answer`; one grammar serves all tasks. Raises ValueError for a name that is not a task."""
    from iqaflow.tasks import grammar

    find(task)
    return grammar.parse(answer)


def _in_order(tasks: Iterable[Task[Ask]]) -> list[Task[Ask]]:
    return sorted(tasks, key=lambda task: (task.question_place, task.name))
