"""Whether a text is clean: no control characters, no markup, nothing that speaks to the model instead of about the image.

Data sets are copied from the web, and a fine-tuned model learns what it reads: one `<script>` or one "ignore all previous
instructions" among the answers is one too many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

FOREIGN = 0.3  # most bytes beyond the first per character: the task vocabulary is English
EMPTY = "no words"
# reason, RE2 pattern: first match names the fault. `<63, 190>` (a box) is no markup.
PATTERNS = (
    (
        "control or direction characters",
        r"[\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{ad}\x{200b}-\x{200f}\x{202a}-\x{202e}"
        r"\x{2060}-\x{2069}\x{feff}\x{fffd}\x{e0000}-\x{e007f}]",
    ),
    (
        "tokens of a chat template",
        r"(?i)<\|[a-z0-9_ ]+\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:image|video|img|pad|bos|eos|unk)>|"
        r"<start_of_turn>|<end_of_turn>",
    ),
    (
        "HTML or script",
        r"(?i)</?[a-z][a-z0-9-]*\s*/?>|<[a-z][a-z0-9-]*\s+[a-z:-]+\s*=|<!--|<!doctype|<[?]|javascript:|"
        r"&(?:lt|gt|amp|quot|nbsp|#x?[0-9a-f]+);|\bon(?:error|load)\s*=",
    ),
    (
        "an instruction to the model",
        r"(?i)\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|direction|"
        r"guideline|polic)|\b(?:system|developer) (?:prompt|message)\b|\bjailbreak|"
        r"\byou are (?:now|no longer) (?:a |an |in |the |bound)|\bdo anything now\b|"
        r"(?m:^\s*(?:system|assistant|user|human)\s*:)|###\s*(?:instruction|system|response)",
    ),
    ("an address of a web page", r"(?i)\bhttps?://|\bwww\.[a-z]"),
)


def faults(texts: pa.Array, addresses: bool = False) -> np.ndarray:
    """For each text null, or what is wrong with it in words. Nulls are another check's; `addresses` may name
    web pages (licences and origins do).
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(texts):
        return np.full(0, None, dtype=object)
    coded = pc.dictionary_encode(texts) if not pa.types.is_dictionary(texts.type) else texts
    distinct, codes = coded.dictionary, coded.indices
    reason = np.full(len(distinct) + 1, None, dtype=object)  # the last one is for nulls
    foreign = pc.divide(
        pc.subtract(pc.binary_length(distinct), pc.utf8_length(distinct)).cast(pa.float64()),
        pc.max_element_wise(pc.utf8_length(distinct), 1).cast(pa.float64()),
    )
    reason[:-1][pc.greater(foreign, FOREIGN).to_numpy(zero_copy_only=False)] = "mostly other than ASCII characters"
    reason[:-1][pc.invert(pc.match_substring_regex(distinct, r"\S")).to_numpy(zero_copy_only=False)] = EMPTY
    for name, pattern in reversed(PATTERNS[:-1] if addresses else PATTERNS):
        reason[:-1][pc.match_substring_regex(distinct, pattern).to_numpy(zero_copy_only=False)] = name
    by_text: np.ndarray = reason[pc.fill_null(codes, len(distinct)).to_numpy(zero_copy_only=False)]
    return by_text
