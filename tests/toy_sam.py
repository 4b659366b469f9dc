"""SAM and SAM 2 classes of toy size with random weights, as configurations of the real ones."""

from __future__ import annotations

SIDE = 64
DECODER = {"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
PROMPTS = {"hidden_size": 16, "image_size": SIDE, "patch_size": 8, "mask_input_channels": 4}


def sam_model():
    from transformers import SamConfig, SamModel

    return SamModel(
        SamConfig(
            vision_config={
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": SIDE,
                "patch_size": 8,
                "global_attn_indexes": [1],
                "window_size": 4,
                "output_channels": 16,
                "mlp_dim": 32,
                "num_pos_feats": 8,
            },
            prompt_encoder_config=PROMPTS,
            mask_decoder_config=DECODER,
        )
    )


def sam2_parts():
    backbone = {
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 2, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 2],
        "window_positional_embedding_background_size": [4, 4],
        "global_attention_blocks": [4],
        "model_type": "sam2_hiera_det_model",
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "fpn_hidden_size": 16,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "model_type": "sam2_vision_model",
    }
    return {
        "vision_config": vision,
        "prompt_encoder_config": PROMPTS | {"patch_size": 16},
        "mask_decoder_config": DECODER | {"dynamic_multimask_via_stability": False},
    }


def sam2_model():
    from transformers import Sam2Config, Sam2Model

    return Sam2Model(Sam2Config(**sam2_parts()))


def sam2_video_model():
    """How SAM 2 is published: the image model with a memory beside it."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    memory = {
        "memory_attention_hidden_size": 16,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 16,
        "memory_attention_num_attention_heads": 1,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": 16,
        "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": 16,
        "memory_fuser_embed_dim": 16,
        "memory_fuser_intermediate_dim": 16,
        "memory_fuser_num_layers": 1,
        "image_size": SIDE,
    }
    return Sam2VideoModel(Sam2VideoConfig(**sam2_parts(), **memory))
