"""Answers read from shared encodings must be the answers of the library, token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iqaflow.engine.session import Engine, Prompt
from iqaflow.tasks import grammar

QUESTIONS = ("Name the ONE distortion of the image.", "Where is the quality worst?", "Rate the quality of the image.")


@pytest.fixture(scope="module")
def engine(trained):
    return Engine.load(trained / "models" / "stage1")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [[rng.integers(0, 256, (64, 64 + 32 * number, 3), dtype=np.uint8)] for number in range(3)]


def alone(engine, image, question, **options):
    """Plain `generate` by the library for one chat."""
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    text = engine.processor.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    pixels = engine.processor.image_processor([image], return_tensors="pt")
    count = int(pixels["image_grid_thw"].prod()) // 4
    ids = engine.processor.tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * count), return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return ids, engine.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=16,
            mm_token_type_ids=(ids == engine.processor.image_token_id).int(),
            **pixels,
            **options,
        )


def test_written_answers_equal_generate(engine, images):
    session = engine.session(images, [["image"]] * 3)
    prompts = [Prompt(item, question) for item in range(3) for question in QUESTIONS]
    written = session.write(prompts, 16)
    for prompt, (text, _) in zip(prompts, written, strict=True):
        ids, made = alone(engine, images[prompt.item][0], prompt.question)
        assert engine.processor.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True) == text


def test_candidates_of_several_tokens_are_scored_exactly(engine, images):
    session = engine.session(images, [["image"]] * 3)
    candidates = ["noise and blur", "blur and noise", "color quantization and overly high contrast"]
    logs = session.choose([Prompt(item, QUESTIONS[0]) for item in range(3)], candidates)
    for item in range(3):
        single = engine.session([images[item]], [["image"]])
        sums = []
        for candidate in candidates:
            said: list[int] = []
            total = 0.0
            for token in [*engine.ids(candidate), engine.processor.tokenizer.eos_token_id]:
                step = single.tree.last([(0, [*engine.packer.branch(("image",), QUESTIONS[0]).prompt, *said])])[0]
                total += float(step[token])
                said.append(token)
            sums.append(total)
        expected = np.array(sums) - np.logaddexp.reduce(sums)
        assert np.allclose(logs[item], expected, atol=1e-4)


def test_questions_do_not_see_each_other(engine, images):
    together = engine.session(images, [["image"]] * 3).choose(
        [Prompt(item, question) for item in range(3) for question in QUESTIONS], grammar.RATINGS
    )
    one = engine.session([images[1]], [["image"]]).choose([Prompt(0, QUESTIONS[2])], grammar.RATINGS)
    assert np.allclose(together[5], one[0], atol=1e-4)
    assert np.allclose(np.exp(together).sum(1), 1)


def test_spatial_reads_every_step(engine, images):
    ((spatial, label),) = engine.session([images[0]], [["image"]]).spatial([Prompt(0, QUESTIONS[1])])
    assert spatial.vertical.shape == spatial.horizontal.shape == (2,)
    assert spatial.cells.shape == spatial.first.shape == spatial.last.shape == (grammar.CELLS,)
    assert spatial.visual.shape == (grammar.GRID, grammar.GRID) and (spatial.visual >= 0).all()
    assert label and np.isfinite(spatial.whole)


def test_two_distortions_are_a_set_whatever_their_order():
    from iqaflow.engine.answers import in_set
    from iqaflow.tasks.vocabulary import FIRST

    ordered, logs = FIRST.ordered_pairs, np.full(132, -50.0)
    for text, chance in (("blur and noise", 0.5), ("noise and blur", 0.2), ("blur and pixelation", 0.3)):
        assert text in ordered
        logs[ordered.index(text)] = np.log(chance)
    candidates, both = FIRST.pairs(logs)
    assert len(candidates) == len(set(candidates)) == 66
    chances = np.exp(both)
    best = int(chances.argmax())
    assert set(candidates[best].split(" and ")) == {"blur", "noise"} and chances[best] == pytest.approx(0.7)
    assert in_set(chances, candidates, best) == pytest.approx((1.0 + 0.7) / 2)  # blur is in both pairs, noise in one
