"""Position words in whichever spelling a model has: with a capital, and with a middle where that is a word of its own."""

from __future__ import annotations

import numpy as np
import pytest

from iqaflow.engine.session import Engine, Prompt
from iqaflow.grounding.text_to_point import Settings, read_out
from iqaflow.model import tiny
from iqaflow.tasks import grammar

WORDS = "Where is the quality worst? whole image: [gray region](<21>) " + " ".join((*grammar.RATINGS, *map(str, range(400))))
POSITIONS = "top bottom left right top left bottom right"
QUESTION = "Where is the quality worst?"


def engine(*texts: str) -> Engine:
    """A small random model whose tokenizer has the words of the texts."""
    return Engine(*tiny.build([WORDS, POSITIONS, *texts], seed=0, min_pixels=1024, max_pixels=4096))


@pytest.fixture(scope="module")
def plain() -> Engine:
    return engine()


@pytest.fixture(scope="module")
def rich() -> Engine:
    """It knows the middle of both axes, and capitals where an answer begins."""
    return engine("middle center the middle center", "Top Bottom Middle")


def session(engine: Engine):
    return engine.session([[np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)]], [["image"]])


def test_a_capital_counts_where_it_is_as_short(plain, rich):
    assert rich.spellings("top") == ["top", "Top"] and rich.spellings("middle") == ["middle", "Middle"]
    assert plain.spellings("top") == ["top"]  # `Top` would be spelt letter by letter
    assert rich.spellings(" left", begun=True) == [" left"]


def test_the_capitals_chance_is_added(rich):
    single = session(rich)
    words = [spelling for word in (grammar.WHOLE, "top", "middle", "bottom") for spelling in rich.spellings(word)]
    spelt = np.exp(single.choose([Prompt(0, QUESTION)], words, ended=False)[0])
    assert words[-6:] == ["top", "Top", "middle", "Middle", "bottom", "Bottom"] and spelt.sum() == pytest.approx(1)
    ((spatial, _),) = single.spatial([Prompt(0, QUESTION)])
    assert np.exp(spatial.rows) == pytest.approx(spelt[-6:].reshape(3, 2).sum(1))
    assert spelt[-5] > 1e-4  # or there would be nothing to add


def test_three_words_an_axis_are_read_beside_the_published_two(rich):
    ((spatial, _),) = session(rich).spatial([Prompt(0, QUESTION)])
    assert spatial.rows.shape == spatial.columns.shape == (3,)
    assert (spatial.vertical == spatial.rows[[0, 2]]).all() and (spatial.horizontal == spatial.columns[[0, 2]]).all()
    assert read_out(spatial, Settings("3x3")) == "3x3"


def test_a_model_without_middle_words_reads_two(plain):
    ((spatial, _),) = session(plain).spatial([Prompt(0, QUESTION)])
    assert spatial.rows is None and spatial.columns is None and spatial.vertical.shape == spatial.horizontal.shape == (2,)
    assert read_out(spatial, Settings("3x3")) == "product"


def test_the_base_that_is_made_here_has_two_words(trained):
    ((spatial, _),) = session(Engine.load(trained / "models" / "stage1")).spatial([Prompt(0, QUESTION)])
    assert spatial.rows is None and spatial.columns is None


def test_what_is_said_after_a_middle_still_begins_at_an_end(rich):
    """The answer goes on with top or bottom, left or right: the grammar has no middle."""
    prompt = Prompt(0, QUESTION)
    session(rich).spatial([prompt])
    said = rich.processor.tokenizer.decode(prompt.answer_ids)
    assert grammar.parse(said).vertical in grammar.VERTICAL and grammar.parse(said).horizontal in grammar.HORIZONTAL
    assert "middle" not in said.split(":")[0] and "center" not in said.split(":")[0]
