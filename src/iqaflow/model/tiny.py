"""The tiny base: an honest Qwen3-VL, small enough to learn image quality on a laptop CPU.

Shallow vision (two blocks of 128) over 8-px patches merged 2x2, a language model of three blocks of 128.
"""

from __future__ import annotations

from typing import Any

from iqaflow.model.processor import CHANNELS, ImageOnlyProcessor, LowLevelImageProcessor
from iqaflow.tasks.grammar import CELLS, GRID
from iqaflow.tasks.vocabulary import current

WIDTH = 128


def build(texts: list[str], seed: int, min_pixels: int, max_pixels: int) -> tuple[Any, ImageOnlyProcessor]:
    """A fresh model and its processor; `texts` give the words of its vocabulary. The same seed gives the same weights."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from iqaflow.model.tokenizer import tokenizer, vocabulary

    words = tokenizer(vocabulary(texts))

    def ids(word: str) -> Any:
        return words.convert_tokens_to_ids(word)

    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(words),
            "hidden_size": WIDTH,
            "intermediate_size": 3 * WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "initializer_range": 0.06,
            "tie_word_embeddings": True,
            "pad_token_id": ids("<|endoftext|>"),
            "eos_token_id": ids("<|im_end|>"),
            "bos_token_id": None,
        },
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_heads": 4,
            "in_channels": CHANNELS,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 1,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0],
            "initializer_range": 0.06,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    share_cells(model, words)
    model.generation_config.update(do_sample=False, eos_token_id=ids("<|im_end|>"), pad_token_id=ids("<|endoftext|>"))
    images = LowLevelImageProcessor(
        patch_size=8, merge_size=2, temporal_patch_size=1, size={"shortest_edge": min_pixels, "longest_edge": max_pixels}
    )
    return model, ImageOnlyProcessor(images, words, chat_template=words.chat_template)


def lacks_words(model: Any, processor: ImageOnlyProcessor) -> bool:
    """Whether a model whose category phrases are single tokens, as the dense read-out needs, splits one of today's."""
    phrases = (phrase for _, phrase in current().categories)
    return getattr(model.config, "iqaflow_dense", False) and any(
        len(processor.tokenizer.tokenize(phrase)) > 1 for phrase in phrases
    )


def grow(model: Any, processor: ImageOnlyProcessor, texts: list[str]) -> tuple[Any, ImageOnlyProcessor]:
    """A tiny model that also has the words of `texts` as tokens: what it knew stays, a new word starts as the mean of the
    pieces that used to spell it.
    """
    import copy

    import torch

    from iqaflow.model.tokenizer import tokenizer, vocabulary

    old, new = processor.tokenizer, tokenizer(vocabulary(texts))
    known = old.get_vocab()
    missing = [token for token in known if token not in new.get_vocab()]
    new = tokenizer(vocabulary([*texts, *(token.replace("\u2581", " ") for token in missing)]))
    before = model.get_input_embeddings().weight.detach()
    rows = []
    for token in new.convert_ids_to_tokens(list(range(len(new)))):
        pieces = [known[token]] if token in known else old.encode(token.replace("\u2581", " "), add_special_tokens=False)
        rows.append(before[pieces].mean(0))
    ids = new.convert_tokens_to_ids
    config = copy.deepcopy(model.config)
    config.text_config.update({"vocab_size": len(new), "pad_token_id": ids("<|endoftext|>"), "eos_token_id": ids("<|im_end|>")})
    config.image_token_id, config.video_token_id = ids("<|image_pad|>"), ids("<|video_pad|>")
    config.vision_start_token_id, config.vision_end_token_id = ids("<|vision_start|>"), ids("<|vision_end|>")
    grown = type(model)(config).to(before.dtype)
    grown.tie_weights()
    state = {name: value for name, value in model.state_dict().items() if value.shape == grown.state_dict()[name].shape}
    grown.load_state_dict(state, strict=False)
    with torch.no_grad():
        grown.get_input_embeddings().weight.copy_(torch.stack(rows))
    grown.generation_config = copy.deepcopy(model.generation_config)
    grown.generation_config.update(eos_token_id=ids("<|im_end|>"), pad_token_id=ids("<|endoftext|>"))
    return grown, ImageOnlyProcessor(processor.image_processor, new, chat_template=new.chat_template)


def share_cells(model: Any, words: Any) -> None:
    """Make each cell's embedding the sum of its row's and its column's (least squares).

    What is learnt about row 3 in one column then holds in all: 400 cells learn as fast as 20 rows and 20 columns.
    """
    import torch

    ids = torch.tensor(words.convert_tokens_to_ids([str(cell) for cell in range(CELLS)]))
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        grid = weight[ids].reshape(GRID, GRID, -1)
        weight[ids] = (grid.mean(1, keepdim=True) + grid.mean(0, keepdim=True) - grid.mean((0, 1), keepdim=True)).reshape(
            CELLS, -1
        )
