"""A folder of scenes, and small real models, made once for all workers: a vision-language one, a Grounding DINO, SAMs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.scene_folders import scene

YES = '{"answer": "yes"}'


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine different scenes."""
    root = tmp_path / "photographs"
    root.mkdir()
    for seed in range(9):
        scene(seed).save(root / f"scene{seed}.png")
    return root


@pytest.fixture(scope="session")
def yes_model(once) -> Path:
    """A tiny Qwen3-VL that has learnt to answer every question with YES, as a folder in Hugging Face layout."""
    return once("yes-tiny", _yes_model)


def _yes_model(folder: Path) -> None:
    import torch

    from iqaflow.annotate.grounding.objects import PROMPT
    from iqaflow.model import base, tiny

    texts = [PROMPT + '{"object": "dog", "quality": "blurry"}', PROMPT + "sky noisy", "Is it?", "Is it? Your last reply"]
    model, processor = tiny.build([*texts, YES], seed=0, min_pixels=1024, max_pixels=4096)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for step in range(36):
        images = [rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)] if step % 4 < 2 else []
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": texts[step % 4]}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[f"{prompt}{YES}{processor.tokenizer.eos_token}"], images=images or None, return_tensors="pt")
        answer = len(processor.tokenizer(f"{YES}{processor.tokenizer.eos_token}", add_special_tokens=False).input_ids)
        labels = inputs["input_ids"].clone()
        labels[:, :-answer] = -100
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
    base.save(model.eval(), processor, folder)


@pytest.fixture(scope="session")
def dino_folder(once) -> Path:
    """A real Grounding DINO of toy size with random weights, saved the way the hub saves one."""
    return once("dino-tiny", _dino)


def _dino(folder: Path) -> None:
    import torch
    from transformers import BertTokenizer, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    words = "[PAD] [UNK] [CLS] [SEP] [MASK] . ? trees in the background dog white sky street lamp lamps grass blurry".split()
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4, out_indices=[2, 3, 4]
        ),
        text_config={
            "model_type": "bert",
            "vocab_size": len(words),
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        },
        num_queries=12,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
        max_text_len=64,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 160}).save_pretrained(folder)


@pytest.fixture(scope="session")
def sam_folders(once) -> dict[str, Path]:
    """A real SAM and a real SAM 2 of toy size with random weights."""
    folder = once("sam", _sams)
    return {"sam": folder / "sam-tiny", "sam2": folder / "sam2-tiny"}


def _sams(folder: Path) -> None:
    import torch
    from transformers import Sam2Config, Sam2Model, SamConfig, SamImageProcessorPil, SamModel

    torch.manual_seed(0)
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    SamModel(
        SamConfig(
            vision_config={
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 64,
                "patch_size": 8,
                "global_attn_indexes": [1],
                "window_size": 4,
                "output_channels": 16,
                "mlp_dim": 32,
                "num_pos_feats": 8,
            },
            prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
            mask_decoder_config=decoder,
        )
    ).save_pretrained(folder / "sam-tiny")
    SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}).save_pretrained(folder / "sam-tiny")
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 2, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [4, 2, 4, 2],
        "global_attention_blocks": [4],
        "window_positional_embedding_background_size": [4, 4],
    }
    Sam2Model(
        Sam2Config(
            vision_config={
                "backbone_config": backbone,
                "backbone_channel_list": [64, 32, 16, 8],
                "fpn_hidden_size": 16,
                "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            },
            prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
            mask_decoder_config={**decoder, "dynamic_multimask_via_stability": True},
        )
    ).save_pretrained(folder / "sam2-tiny")
