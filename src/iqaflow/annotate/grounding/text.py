"""People's descriptions made safe to quote and to train on, and what counts as a word about quality."""

from __future__ import annotations

import re
import unicodedata

from pydantic import AfterValidator, StringConstraints

LONGEST = 2_000  # characters of a description
_SPECIAL = re.compile(r"<[|/!?]?\w[^<>]{0,80}>|\[/?(?:INST|SYS)\]", re.IGNORECASE)  # chat markers and markup
_PLACE = re.compile(r"\[([^\[\]]*)\]\(<[^<>]*>(?:, ?<[^<>]*>)*\)")
_QUALITY = re.compile(
    r"\b(?:quality|clarity|clear\w*|sharp\w*|blur\w*|focus\w*|soft\w*|crisp|hazy|haze|fuzzy|smear\w*|noise|noisy|grain\w*|clean|"
    r"smooth\w*|(?:over|under)?[- ]?expos\w*|light\w*|bright\w*|dark\w*|dim\w*|shadow\w*|colou?r\w*|satura\w*|vivid|vibrant|"
    r"pale|faded|dull|contrast\w*|flat|detail\w*|texture\w*|compress\w*|artifact\w*|pixel\w*|block\w*|band\w*|halo\w*|"
    r"distort\w*|resol\w*|lost|retain\w*|preserv\w*|visible|recogni[sz]\w*|degrad\w*|jagged|edge\w*|outline\w*|"
    r"(?:un)?natural\w*)\b",
    re.IGNORECASE,
)
_ABOUT_THE_TEXT = re.compile(
    r"\b(?:description|text|passage|paragraph|caption|statement|mention\w*|according|author)\b", re.IGNORECASE
)


def plain(description: str) -> str:
    """A description as one line of plain text: no control or direction characters, no markup, no chat markers, no boxes of
    its own, at most LONGEST characters (cut after a sentence).
    """
    text = unicodedata.normalize("NFC", description)
    text = "".join(mark if unicodedata.category(mark)[0] != "C" else " " for mark in text)
    before = None
    while before != text:  # what is left may join to a new one
        before, text = text, _SPECIAL.sub(" ", _PLACE.sub(r"\1", text))
    text = " ".join(re.sub(r"[<>\[\]{}|`]", " ", text).split())
    if len(text) > LONGEST:
        text = text[:LONGEST]
        text = text[: text.rfind(". ") + 1] or text
    return re.sub(r" ([.,;:!?])", r"\1", text)


def about_quality(text: str) -> bool:
    """Whether a question or answer is about how something looks, and not about the text it was made from (the keyword
    filter of GIQA-VQA).
    """
    return bool(_QUALITY.search(text)) and not _ABOUT_THE_TEXT.search(text)


def _plain_line(text: str) -> str:
    if any(unicodedata.category(mark)[0] == "C" for mark in text) or re.search(r"[<>\[\]{}|`]|https?:|www\.", text):
        raise ValueError("only plain words on one line, without brackets, markup or addresses")
    return text


def line(longest: int) -> StringConstraints:
    """How long a plain line of a reply may be: the type of such a field is `Annotated` of str with this and PLAIN_LINE."""
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=longest)


PLAIN_LINE = AfterValidator(_plain_line)
