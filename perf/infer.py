"""One shared encoding for all questions of an image against one `generate` per question: the same answers, and how fast.

    python perf/infer.py [--model models/base-tiny] [--images 16] [--side 128]

The questions are those of an assessment: what, how good, two descriptions, where, and what is wrong with each of three regions.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import skimage
import torch

from iqaflow import distortions
from iqaflow.engine.session import Engine, Prompt
from iqaflow.tasks import describe, ground, identify, refer, score

REGIONS = (
    "[gray region](<0, 189>) at the top left",
    "[brown region](<10, 199>) at the top right",
    "[gray region](<200, 389>) at the bottom left",
)
QUESTIONS = (
    identify.plain_question(1),
    score.plain_question(),
    describe.plain_question("brief"),
    describe.plain_question("detailed"),
    ground.plain_question("worst"),
    *(refer.SHORT[0].format(region=region) for region in REGIONS),
)
MAX_TOKENS, TOGETHER = 64, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/base-tiny"))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--side", type=int, default=128, help="height and width of an image")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    engine = Engine.load(chosen.model)
    rng = np.random.default_rng(0)
    photograph, side = skimage.data.astronaut(), chosen.side
    images = []
    for _ in range(chosen.images):
        y, x = rng.integers(0, 512 - side, 2)
        view = np.ascontiguousarray(photograph[y : y + side, x : x + side])
        images.append(distortions.apply(view, rng.choice(distortions.names()), int(rng.integers(1, 6)), rng))
    ways = {
        "one `generate` per question": alone,
        "questions as branches of one encoding": lambda *given: shared(*given, 1),
        f"the same, {TOGETHER} images at once": lambda *given: shared(*given, TOGETHER),
    }
    print(f"{len(images)} images of {side} px, {len(QUESTIONS)} questions each, one thread.\n")
    print("| way | ms per image | times as fast | answers equal |\n|---|---|---|---|")
    first = None
    for name, way in ways.items():
        way(engine, images[:1])  # warm-up
        begun = time.perf_counter()
        answers = way(engine, images)
        spent = (time.perf_counter() - begun) * 1000 / len(images)
        first = first or (spent, answers)
        equal = sum(a == b for a, b in zip(answers, first[1], strict=True))
        print(f"| {name} | {spent:.0f} | {first[0] / spent:.1f} | {equal} of {len(answers)} |")


def shared(engine: Engine, images: list[np.ndarray], together: int) -> list[str]:
    out = []
    for start in range(0, len(images), together):
        some = images[start : start + together]
        session = engine.session([[image] for image in some], [["image"]] * len(some))
        asked = [Prompt(item, question) for item in range(len(some)) for question in QUESTIONS]
        out += [text for text, _ in session.write(asked, MAX_TOKENS)]
    return out


def alone(engine: Engine, images: list[np.ndarray]) -> list[str]:
    out = []
    processor, model = engine.processor, engine.model
    for image in images:
        for question in QUESTIONS:
            chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
            text = processor.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            pixels = processor.image_processor([image], return_tensors="pt")
            count = int(pixels["image_grid_thw"].prod()) // processor.image_processor.merge_size**2
            ids = processor.tokenizer(text.replace(processor.image_token, processor.image_token * count), return_tensors="pt")[
                "input_ids"
            ]
            with torch.inference_mode():
                made = model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=MAX_TOKENS,
                    do_sample=False,
                    mm_token_type_ids=(ids == processor.image_token_id).int(),
                    **pixels,
                )
            out.append(processor.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))
    return out


if __name__ == "__main__":
    main()
