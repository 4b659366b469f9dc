"""Reading answers from logits: images encoded once, every question a branch, closed-set answers scored exactly.

A closed-set answer is the candidate with the highest probability under the model, so that every answer parses, and the
softmax over the candidates is its confidence. Candidates of one token each cost one pass for all questions; longer ones
are scored as branches of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.engine.logit_lens import Lens
from iqaflow.engine.row_cache import Rows
from iqaflow.engine.tree_cache import Tree
from iqaflow.grounding.text_to_point import Spatial
from iqaflow.model.packing import Pack, packer_for
from iqaflow.tasks import grammar, vocabulary
from iqaflow.tasks.vocabulary import Vocabulary

LABEL_TOKENS = 8
MIDDLE = ("middle", "center")  # between top and bottom, between left and right


@dataclass
class Prompt:
    """A question to image set `item` of a session, and the answer ids so far."""

    item: int
    question: str
    answer_ids: list[int] = field(default_factory=list)


class Engine:
    """A stage-one model ready to be asked in its own vocabulary: today's for one that is being made. One instance serves one
    thread.
    """

    def __init__(self, model: Any, processor: Any, known: Vocabulary | None = None) -> None:
        self.model, self.processor, self.vocabulary = model.eval(), processor, known or vocabulary.current()
        self.cells = tuple(map(str, range(self.vocabulary.cells)))
        self.packer = packer_for(model, processor)
        self.budget = self.packer.family.budget(processor)
        self.lens_ids = None
        if getattr(model.config, "iqaflow_dense", False):  # made with the dense read-out
            from iqaflow.model.dense_head import DenseHead

            self.lens_ids = DenseHead(processor.tokenizer, self.vocabulary).ids

    @classmethod
    def load(cls, folder: Path) -> Engine:
        """The engine of a model folder in Hugging Face layout."""
        from iqaflow.model import base

        return cls(*base.load(folder), vocabulary.of_model(folder))

    def session(self, images: Sequence[Sequence[np.ndarray]], roles: Sequence[Sequence[str]]) -> Session:
        """Encode image sets (uint8 RGB (H, W, 3) each) once; ask them any number of questions."""
        return Session(self, images, roles)

    def ids(self, text: str, begun: bool = False) -> list[int]:
        """Token ids of an answer, or of how a `begun` one goes on."""
        return self.packer.after(self.packer.layout(("image",)).mark, text) if begun else self.packer.ids(text)

    def spellings(self, word: str, begun: bool = False) -> list[str]:
        """A word in lower case and, where that is as short for the model, with a capital: `top`, `Top`."""
        bare = word.lstrip()
        capital = word[: len(word) - len(bare)] + bare[:1].upper() + bare[1:]
        return [word, capital] if len(self.ids(capital, begun)) <= len(self.ids(word, begun)) else [word]


class Session:
    """Encoded images with their key-value prefix, and the questions asked of them, for all image sets at once."""

    def __init__(self, engine: Engine, images: Sequence[Sequence[np.ndarray]], roles: Sequence[Sequence[str]]) -> None:
        self.engine = engine
        packs = [Pack(list(some), tuple(names), ()) for some, names in zip(images, roles, strict=True)]
        self.roles = [pack.roles for pack in packs]
        kind = Rows if engine.packer.alone else Tree
        self.tree = kind(engine.model, engine.packer.collate(packs), engine.packer.family)
        last = np.cumsum([len(some) for some in images]) - 1  # the image in question comes last in every set
        self.lens = (
            None
            if self.tree.grids is None
            else Lens.of(engine, [self.tree.visual[n] for n in last], [self.tree.grids[n] for n in last])
        )

    def choose(self, prompts: Sequence[Prompt], candidates: Sequence[str], ended: bool = True) -> np.ndarray:
        """Log-probabilities (len(prompts), len(candidates)) of each candidate continuing each prompt, normalised over
        the candidates. `ended` counts the end marker too: `noise` is then not the start of `noise and blur`.
        """
        ids = [self.engine.ids(candidate, bool(prompts[0].answer_ids)) for candidate in candidates]
        if all(len(tokens) == 1 for tokens in ids):
            logs = self.tree.last([(prompt.item, self._branch(prompt)) for prompt in prompts])
            return _normalised(logs[:, [tokens[0] for tokens in ids]])
        end = self.engine.ids(self.engine.processor.tokenizer.eos_token) if ended else []
        branches = [(prompt.item, self._branch(prompt)) for prompt in prompts]
        return _normalised(self.tree.score(branches, [[*tokens, *end] for tokens in ids]))

    def spatial(self, prompts: Sequence[Prompt]) -> list[tuple[Spatial, str]]:
        """Spatial logits of grounding questions, each read at the step that emits its word (IQA-Spider, section 3.4), and
        the region's name. The answer follows the grammar; only its open choices are the model's.
        """
        words = [grammar.WHOLE, *self._axis(grammar.VERTICAL, MIDDLE[0])]
        logs = self._words(prompts, words)
        vertical, rows = _ends(logs[:, 1:])
        whole = logs[:, 0] - np.logaddexp(vertical[:, 0], vertical[:, 1])
        self._say(prompts, [grammar.VERTICAL[index] for index in vertical.argmax(1)])
        horizontal, columns = _ends(self._words(prompts, [f" {word}" for word in self._axis(grammar.HORIZONTAL, MIDDLE[1])]))
        self._say(prompts, [f" {grammar.HORIZONTAL[index]}: [" for index in horizontal.argmax(1)])
        names = self._names(prompts)
        self._say(prompts, ["](<"] * len(prompts))
        cells = self.choose(prompts, self.engine.cells, ended=False)
        self._say(prompts, [f"{cell}>) [{name}](<" for cell, name in zip(cells.argmax(1), names, strict=True)])
        first = self.choose(prompts, self.engine.cells, ended=False)
        self._say(prompts, [f"{cell}, " for cell in first.argmax(1)])
        last = self.choose(prompts, self.engine.cells, ended=False)
        return [
            (
                Spatial(
                    vertical[n],
                    horizontal[n],
                    float(whole[n]),
                    cells[n],
                    first[n],
                    last[n],
                    self.lens.map(prompt.item, prompt.question) if self.lens else None,
                    None if rows is None else rows[n],
                    None if columns is None else columns[n],
                ),
                names[n],
            )
            for n, prompt in enumerate(prompts)
        ]

    def write(self, prompts: Sequence[Prompt], max_tokens: int = 96) -> list[tuple[str, float]]:
        """Free greedy answers, with the mean probability of their tokens."""
        eos = self.engine.processor.tokenizer.eos_token_id
        written = self.tree.grow([(prompt.item, self._branch(prompt)) for prompt in prompts], max_tokens, lambda t: t == eos)
        decode = self.engine.processor.tokenizer.decode
        return [(decode(ids), float(np.mean(sure)) if sure else 0.0) for ids, sure in written]

    def _words(self, prompts: Sequence[Prompt], words: Sequence[str]) -> np.ndarray:
        """Log-probabilities (len(prompts), len(words)) of single words, each in whichever case the model would write it."""
        spelt = [self.engine.spellings(word, bool(prompts[0].answer_ids)) for word in words]
        logs = self.choose(prompts, [spelling for spellings in spelt for spelling in spellings], ended=False)
        return np.stack(
            [
                np.logaddexp.reduce(some, axis=1)
                for some in np.split(logs, np.cumsum([len(spellings) for spellings in spelt])[:-1], axis=1)
            ],
            axis=1,
        )

    def _axis(self, ends: Sequence[str], middle: str) -> Sequence[str]:
        """The two words of an axis, with the middle one between them where it is as short for the model as they are: a word
        it spells letter by letter is none it would say.
        """
        lengths = [len(self.engine.ids(word)) for word in (*ends, middle)]
        return (ends[0], middle, ends[1]) if lengths[-1] <= max(lengths[:-1]) else ends

    def _names(self, prompts: Sequence[Prompt]) -> list[str]:
        """The region's name, written freely up to its closing bracket."""
        decode = self.engine.processor.tokenizer.decode

        def ends(token: int) -> bool:
            return not decode([token]).replace(" ", "").isalpha()

        written = self.tree.grow([(prompt.item, self._branch(prompt)) for prompt in prompts], LABEL_TOKENS, ends)
        names = [decode(ids).strip() or "region" for ids, _ in written]
        self._say(prompts, names)
        return names

    def _say(self, prompts: Sequence[Prompt], words: Sequence[str]) -> None:
        for prompt, word in zip(prompts, words, strict=True):
            prompt.answer_ids += self.engine.ids(word, bool(prompt.answer_ids))

    def _branch(self, prompt: Prompt) -> list[int]:
        return [*self.engine.packer.branch(self.roles[prompt.item], prompt.question).prompt, *prompt.answer_ids]


def _ends(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The outer two of an axis's words (n, 2 or 3), and all three if there are three."""
    return (logs, None) if logs.shape[1] == 2 else (logs[:, [0, 2]], logs)


def _normalised(logs: np.ndarray) -> np.ndarray:
    return logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)
