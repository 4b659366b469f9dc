"""A packed question must see exactly what it would see alone; labels must be the answer and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iqaflow.model import base, tiny
from iqaflow.model.packing import Pack, packer_for

QUESTIONS = [
    ("What distortion does the image show?", "noise"),
    ("Where is the quality worst?", "top left: [gray region](<21>)"),
    ("Rate the quality of the image.", "poor"),
]


@pytest.fixture(scope="module")
def tiny_base():
    model, processor = tiny.build([text for pair in QUESTIONS for text in pair], 0, 4096, 65536)
    return model.eval(), processor


def image(seed: int, height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def answer_log_probs(model, batch):
    out = model.model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
        pixel_values=batch["pixel_values"],
        image_grid_thw=batch["image_grid_thw"],
        use_cache=False,
    ).last_hidden_state
    at = batch["at"]
    return model.lm_head(out[at[:, 0], at[:, 1]]).log_softmax(-1).gather(1, batch["labels"][:, None])[:, 0]


@pytest.mark.parametrize("roles", [("image",), ("reference", "image"), ("reference", "A", "B")])
def test_packed_equals_alone(tiny_base, roles):
    model, processor = tiny_base
    packer = packer_for(model, processor)
    images = [image(number, 64, 96 + 16 * number) for number in range(len(roles))]
    branches = [packer.branch(roles, *pair) for pair in QUESTIONS]
    with torch.no_grad():
        packed = answer_log_probs(model, packer.collate([Pack(images, roles, branches), Pack(images[:1], ("image",), [])]))
        alone = torch.cat([answer_log_probs(model, packer.collate([Pack(images, roles, [one])])) for one in branches])
    assert torch.allclose(packed, alone, atol=1e-5)


def test_packed_prompt_equals_the_librarys_own_generation(tiny_base):
    """The greedy first token after a packed question is the one `generate` gives for the same chat."""
    model, processor = tiny_base
    packer = packer_for(model, processor)
    picture = image(5)
    branches = [packer.branch(("image",), question) for question, _ in QUESTIONS]
    batch = packer.collate([Pack([picture], ("image",), branches)])
    with torch.no_grad():
        out = model.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            position_ids=batch["position_ids"],
            pixel_values=batch["pixel_values"],
            image_grid_thw=batch["image_grid_thw"],
            use_cache=False,
        ).last_hidden_state
        packed = model.lm_head(out[batch["ends"][:, 0], batch["ends"][:, 1]]).argmax(-1)
        for (question, _), token in zip(QUESTIONS, packed, strict=True):
            chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
            text = processor.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            pixels = processor.image_processor([picture], return_tensors="pt")
            count = int(pixels["image_grid_thw"].prod()) // 4
            ids = processor.tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * count), return_tensors="pt")["input_ids"]
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=1,
                do_sample=False,
                mm_token_type_ids=(ids == processor.image_token_id).int(),
                **pixels,
            )
            assert made[0, -1] == token


def test_labels_are_the_answers_with_their_end(tiny_base):
    _, processor = tiny_base
    model, _ = tiny_base
    packer = packer_for(model, processor)
    batch = packer.collate([Pack([image(1)], ("image",), [packer.branch(("image",), *pair) for pair in QUESTIONS])])
    said = processor.tokenizer.decode(batch["labels"])
    assert said == "".join(f"{answer}<|im_end|>" for _, answer in QUESTIONS)


def test_saved_model_loads_with_from_pretrained(tiny_base, tmp_path):
    from transformers import AutoModelForImageTextToText

    model, processor = tiny_base
    base.save(model, processor, tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not list(tmp_path.glob("*.bin")) and not list(tmp_path.glob("*.pt"))
    _, reloaded = base.load(tmp_path)
    picture = image(3)
    assert np.array_equal(
        reloaded.image_processor([picture])["pixel_values"], processor.image_processor([picture])["pixel_values"]
    )


def test_tokenizer_spells_anything(tiny_base):
    _, processor = tiny_base
    for text in ("insufficient contrast and noise", "The zebra's café, ½ 日本", "[sky](<35, 319>)", "  two  spaces\n"):
        assert processor.tokenizer.decode(processor.tokenizer(text)["input_ids"]) == text
    assert len(processor.tokenizer("insufficient contrast")["input_ids"]) == 1
