"""Prompts as a shared part (the images) and branches (one question each), for any chat model's own template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NAMES = {"reference": "Reference: ", "A": "Image A: ", "B": "Image B: ", "image": "Image: "}
MARK = "\u2047question\u2047"


@dataclass(frozen=True)
class Layout:
    """A rendered conversation cut at its one boundary that every tokenizer respects, the end of the last image: `prefix`
    (after the token `begin`, if any) holds the images and ends with the special token `mark`, `lead` + question + `close` is
    a branch, an answer ends with `end`.
    """

    begin: int | None
    prefix: str
    mark: str
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
    tokenizer = processor.tokenizer
    text = tokenizer.apply_chat_template(
        messages(roles, MARK), tokenize=False, add_generation_prompt=True, chat_template=processor.chat_template
    )
    head, close = text.split(MARK)
    # what closes an image is written by the template, or comes with the image's own tokens
    mark = processor.image_end if processor.image_end in head else processor.image_token
    cut = head.rindex(mark) + len(mark)
    # a template may leave the begin-of-text token to the tokenizer
    begins = not head.startswith(tokenizer.bos_token or "") and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return Layout(
        tokenizer.bos_token_id if begins else None, head[:cut], processor.image_end, head[cut:], close, tokenizer.eos_token
    )
