"""Models that write or check annotations, each an optional back end behind one interface: `Teacher.ask`.

A back end is one module of this package, named by `annotate.teacher.kind`: a class `Backend(config, workspace)`
with `name`, `identity` (what its replies depend on), `parallel`, and `write(text, images, schema) -> Completion`. Replies are
only ever parsed: text in an image or a description is data, it is passed quoted (`quoted`) and can at worst spoil its own row.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel

from iqaflow.annotate.teachers.replies import Cache, ReplyError, read
from iqaflow.core.config.schema import Teacher as Section
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace

Model = TypeVar("Model", bound=BaseModel)

if TYPE_CHECKING:
    from typing import Protocol

    class Backend(Protocol):
        name: str
        identity: str
        parallel: bool

        def write(self, text: str, images: Sequence[np.ndarray], schema: dict[str, Any]) -> Completion: ...


@dataclass(frozen=True)
class Question(Generic[Model]):
    """What a teacher is asked. `prompt` is the name and version of the prompt, such as `triples/1`; `schema` is the model
    its reply must fit, whose validators see `context`; `images` are uint8 RGB (H, W, 3).
    """

    prompt: str
    text: str
    schema: type[Model]
    images: tuple[np.ndarray, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Completion:
    """What a back end wrote, and the mean probability of its tokens where it tells."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True)
class Reply(Generic[Model]):
    """A reply that passed its schema."""

    value: Model
    confidence: float | None = None


class Teacher:
    """A back end with the response cache and the check of every reply. Safe to use from several threads."""

    def __init__(self, config: Section, backend: Backend, cache: Cache) -> None:
        self.config, self.backend, self.cache = config, backend, cache
        self.name = backend.name
        self.counts: Counter[str] = Counter()  # asked, cached, written, again, dropped
        self.lock = threading.Lock()

    def ask(self, questions: Sequence[Question[Model]]) -> list[Reply[Model] | None]:
        """Replies in the order of the questions; None where the reply was of no use twice (counted as `dropped`).

        Raises InputError where the parameters are wrong and PipelineError where the server stays away.
        """
        if not self.backend.parallel or len(questions) < 2:
            return [self._answered(question) for question in questions]
        pool = ThreadPoolExecutor(min(self.config.concurrency, len(questions)))
        try:
            return list(pool.map(self._answered, questions))
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure nobody waits for the other questions

    def _answered(self, question: Question[Model]) -> Reply[Model] | None:
        self._count("asked")
        key = self.key(question)
        if (kept := self.cache.get(key)) is not None:
            try:
                reply = Reply(read(question.schema, kept["reply"], question.context), kept["confidence"])
                self._count("cached")
                return reply
            except ReplyError:
                pass  # the check has become stricter since: asked again
        text = question.text
        for last in (False, True):
            completion = self.backend.write(text, question.images, question.schema.model_json_schema())
            try:
                value = read(question.schema, completion.text, question.context)
            except ReplyError as error:
                if last:
                    self._count("dropped")
                    self.cache.drop(question.prompt, str(error))
                    return None
                self._count("again")
                text = f"{question.text}\n\nYour last reply could not be used: {error}. Reply again, with the JSON object only."
                continue
            self._count("written")
            first = self.cache.put(key, question.prompt, value.model_dump_json(), completion.confidence, instead=kept)
            # where two processes asked at once, both use the reply that was kept first
            return Reply(read(question.schema, first["reply"], question.context), first["confidence"])
        raise AssertionError("unreachable")

    def _count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def key(self, question: Question[Model]) -> str:
        """Model and revision, prompt version, prompt text, images and options: what a reply depends on."""
        images = [
            [list(image.shape), hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()] for image in question.images
        ]
        options = [self.config.temperature, self.config.max_tokens]
        text = hashlib.sha256(question.text.encode()).hexdigest()
        return hashlib.sha256(json.dumps([self.backend.identity, question.prompt, text, images, options]).encode()).hexdigest()


@functools.lru_cache(maxsize=2)
def of(config: Section, workspace: Workspace) -> Teacher | None:
    """The teacher of these parameters, made once per process; None for `kind: none`. Nothing is loaded or reached before
    the first question that is not in the cache. Raises InputError if a parameter is missing.
    """
    if config.kind == "none":
        return None
    module = KINDS["teachers"].module(config.kind, "annotate.teacher.kind")
    return Teacher(config, module.Backend(config, workspace), Cache(workspace.state / "teachers"))


def quoted(data: Any) -> str:
    """Data as one line of JSON for a prompt. Brackets of markup and of special tokens are escaped, so that no text can
    close its quotes, open a chat turn or name an image.
    """
    text = json.dumps(data, ensure_ascii=True)
    for mark in "<>|`":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text
