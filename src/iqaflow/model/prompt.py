"""Prompts as a shared part (the images) and branches (one question each), for any chat model's own template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NAMES = {"reference": "Reference: ", "A": "Image A: ", "B": "Image B: ", "image": "Image: "}
MARK = "\u2047question\u2047"


@dataclass(frozen=True)
class Layout:
    """A rendered conversation cut at its one boundary that every tokenizer respects, the end of the last image:
    `prefix` holds the images, `lead` + question + `close` is a branch, an answer ends with `end`."""

    prefix: str
    lead: str
    close: str
    end: str


def messages(roles: Sequence[str], question: str) -> list[dict[str, Any]]:
    """Chat messages for images in the given roles; a lone image needs no name."""
    content: list[dict[str, str]] = []
    for role in roles:
        if len(roles) > 1:
            content.append({"type": "text", "text": NAMES[role]})
        content.append({"type": "image"})
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


def layout(processor: Any, roles: Sequence[str]) -> Layout:
    text = processor.tokenizer.apply_chat_template(
        messages(roles, MARK), tokenize=False, add_generation_prompt=True, chat_template=processor.chat_template
    )
    head, close = text.split(MARK)
    cut = head.rindex(processor.vision_end_token) + len(processor.vision_end_token)
    return Layout(head[:cut], head[cut:], close, processor.tokenizer.eos_token)
