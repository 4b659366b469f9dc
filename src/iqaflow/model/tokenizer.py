"""The tiny base's tokenizer: whole words and answer phrases as single tokens, any other text spelled by bytes.

Category phrases are one token each, so that a closed-set answer is read at one decoding step; cells 0..399 too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
SPACE = "▁"
COLOURS = ("black white light gray dark red orange yellow green cyan blue purple pink brown",)
# content parts in order; images stand where they are, as in Qwen's own template
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Pieces for the texts' words, with and without a leading space, after the grammar's own phrases and cells."""
    from iqaflow import distortions
    from iqaflow.tasks import grammar

    closed = [
        *sorted(category.phrase for category in distortions.categories().values()),
        *distortions.SEVERITIES,
        *grammar.RATINGS,
        *grammar.VERTICAL,
        *grammar.HORIZONTAL,
        grammar.WHOLE,
        grammar.CLEAN,
        "Image A",
        "Image B",
        "Yes",
        "No",
    ]
    texts = [*texts, *COLOURS, "Reference: Image A: Image B: user assistant"]
    words = {word for text in texts for word in re.findall(r"[A-Za-z]+|[^\sA-Za-z0-9]+", text)}
    spaced = [phrase.replace(" ", SPACE) for phrase in (*closed, *sorted(words - set(closed)))]
    pieces = [
        *(str(cell) for cell in range(grammar.CELLS)),
        f",{SPACE}",
        *(variant for phrase in spaced for variant in (phrase, SPACE + phrase)),
        "\n",
        SPACE,
    ]
    letters = [chr(code) for code in range(33, 127)]
    return list(dict.fromkeys([*pieces, *letters]))


def tokenizer(pieces: list[str]) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer over `pieces` in which the fewest tokens win, with byte fallback."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    single = [piece for piece in pieces if len(piece) > 1 or not piece.isascii() or piece in "\n0123456789"]
    rows = [(token, 0.0) for token in SPECIAL] + [("<unk>", -50.0)] + [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    # one point a token: the segmentation with the fewest tokens has the best score; single letters come last
    rows += [(piece, -1.0 if piece in set(single) else -5.0) for piece in pieces]
    model = Tokenizer(models.Unigram(rows, unk_id=len(SPECIAL), byte_fallback=True))
    model.normalizer = normalizers.Replace(Regex(" "), SPACE)
    model.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    model.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
