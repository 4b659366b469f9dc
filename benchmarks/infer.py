"""One shared encoding for all questions of an image against one `generate` per question: same model, same answers?

    python benchmarks/infer.py [--model models/base-tiny] [--images 20]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import skimage
import torch

from iqaflow import distortions
from iqaflow.infer.engine import Engine, Prompt
from iqaflow.tasks import describe, ground, identify, score

QUESTIONS = (identify.asked(1), score.asked(), describe.asked("brief"), describe.asked("detailed"), ground.asked("worst"))
MAX_TOKENS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/base-tiny"))
    parser.add_argument("--images", type=int, default=20)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    engine = Engine.load(chosen.model)
    rng = np.random.default_rng(0)
    photograph = skimage.data.astronaut()
    images = []
    for _ in range(chosen.images):
        y, x = rng.integers(0, 384, 2)
        view = np.ascontiguousarray(photograph[y : y + 128, x : x + 128])
        images.append(distortions.apply(view, rng.choice(distortions.names()), int(rng.integers(1, 6)), rng))
    shared(engine, images[:1]), alone(engine, images[:1])  # warm-up
    begun = time.perf_counter()
    ours = shared(engine, images)
    between = time.perf_counter()
    theirs = alone(engine, images)
    ended = time.perf_counter()
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print("| way | ms per image, 5 questions |\n|---|---|")
    print(f"| one `generate` per question | {(ended - between) * 1000 / len(images):.0f} |")
    print(f"| one encoding, questions as branches | {(between - begun) * 1000 / len(images):.0f} |")
    print(f"\n{equal} of {len(ours)} answers equal; {(ended - between) / (between - begun):.1f} times faster; one thread.")


def shared(engine: Engine, images: list[np.ndarray]) -> list[str]:
    out = []
    for image in images:
        session = engine.session([[image]], [["image"]])
        out += [text for text, _ in session.write([Prompt(0, question) for question in QUESTIONS], MAX_TOKENS)]
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
            ids = processor.tokenizer(text.replace(processor.image_token, processor.image_token * count),
                                      return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=MAX_TOKENS,
                                      do_sample=False, mm_token_type_ids=(ids == processor.image_token_id).int(), **pixels)
            out.append(processor.tokenizer.decode(made[0, ids.shape[1]:], skip_special_tokens=True))
    return out


if __name__ == "__main__":
    main()
