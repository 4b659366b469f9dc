"""The tiny base learns new words without forgetting any."""

from __future__ import annotations

from pathlib import Path

import torch

from iqaflow.core.config import Config
from iqaflow.model import base, tiny

BASE = Path(__file__).parents[2] / "models" / "base-tiny"
KNOWN = "Name the ONE distortion of the image. [dark green region](<63, 190>) at the top left."
NEW = "Kindly ascertain the flamboyant degradation."


def test_a_grown_model_answers_as_before_and_has_the_new_words() -> None:
    model, processor = base.load(BASE, Config().train)
    grown, wider = tiny.grow(model, processor, [NEW])
    assert "\u2581flamboyant" in wider.tokenizer.tokenize(NEW)
    assert "\u2581flamboyant" not in processor.tokenizer.tokenize(NEW)
    tokens, same = (one.tokenizer(KNOWN)["input_ids"] for one in (processor, wider))
    assert processor.tokenizer.convert_ids_to_tokens(tokens) == wider.tokenizer.convert_ids_to_tokens(same)
    words = ["blur", "noise", "0", "399", "left"]
    with torch.no_grad():
        before, after = (
            one.eval()(input_ids=torch.tensor([ids])).logits[0, -1, tokenizer.convert_tokens_to_ids(words)]
            for one, ids, tokenizer in ((model, tokens, processor.tokenizer), (grown, same, wider.tokenizer))
        )
    assert torch.allclose(before, after, atol=1e-5)
    assert wider.tokenizer.decode(wider.tokenizer(NEW)["input_ids"]) == NEW
