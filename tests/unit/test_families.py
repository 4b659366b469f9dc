"""Every architecture, as a small random checkpoint of its own class on disk: packed equals alone, it learns, it answers."""

from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import pytest
import torch

from iqaflow.core.config import Config, load, presets
from iqaflow.core.errors import StageError
from iqaflow.engine.row_cache import Rows
from iqaflow.engine.session import Engine, Prompt
from iqaflow.engine.tree_cache import Tree
from iqaflow.model import base, dense_head, families
from iqaflow.model.packing import LEAK, Pack, Packer, packer_for, probe
from iqaflow.model.tokenizer import SPECIAL, TEMPLATE
from iqaflow.tasks import grammar
from iqaflow.tasks.vocabulary import current
from iqaflow.train.objective import Objective

QUESTIONS = [
    ("What distortion does the image show?", "noise"),
    ("Where is the quality worst?", "top left: [gray region](<21>)"),
    ("Rate the quality of the image.", "poor"),
]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
TRAIN = Config().train.model_copy(update={"min_pixels": 1024, "max_pixels": 16_384, "dense": 0.0, "soft_targets": False})
CHAT = (
    "{% for m in messages %}USER: {% for p in m['content'] %}{% if p['type'] == 'image' %}IMAGE\n{% else %}{{ p['text'] }}"
    "{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def spelled(*special: str, space: bool = False, template: str = CHAT, **named: str):
    """A BPE tokenizer that splits answer words: with a space put before texts and a begin-of-text token, as Llama's has, or
    by bytes, as Qwen's has.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token=None, byte_fallback=space))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first") if space else pre_tokenizers.ByteLevel(False)
    made.decoder = (
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
        if space
        else decoders.ByteLevel()
    )
    letters = [chr(code) for code in range(33, 127)] + ["\n"] if space else pre_tokenizers.ByteLevel.alphabet()
    tokens = ["<s>", "</s>", *special, *([f"<0x{byte:02X}>" for byte in range(256)] if space else [])]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=tokens, initial_alphabet=letters, show_progress=False)
    made.train_from_iterator([text for pair in QUESTIONS for text in pair] * 2, trainer)
    if space:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>" if space else None,
        eos_token="</s>",
        additional_special_tokens=list(special),
        extra_special_tokens=named or None,
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def qwen_words():
    from iqaflow.model.tokenizer import tokenizer, vocabulary

    words = tokenizer(vocabulary([text for pair in QUESTIONS for text in pair]))
    return words, token_ids(words)


def token_ids(words) -> dict[str, int]:
    ids = words.convert_tokens_to_ids
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def qwen_images(patch: int):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=patch, merge_size=2, temporal_patch_size=2)


def qwen2_5_vl():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    words, ids = qwen_words()
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, "vocab_size": len(words), "rope_parameters": ROPE},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "patch_size": 8,
            "out_hidden_size": 32,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        **ids,
    )
    return Qwen2_5_VLForConditionalGeneration(config), words, qwen_images(8)


def qwen3_vl():
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    words, ids = qwen_words()
    config = Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": len(words), "rope_parameters": {**ROPE, "mrope_interleaved": True}},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "patch_size": 8,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        **ids,
    )
    return Qwen3VLForConditionalGeneration(config), words, qwen_images(8)


def qwen3_5():
    """Linear attention in every other layer: no mask can hide one question from the next."""
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    words = spelled(*SPECIAL, template=TEMPLATE)
    ids = token_ids(words)
    config = Qwen3_5Config(
        text_config={
            **TEXT,
            "vocab_size": len(words),
            "layer_types": ["linear_attention", "full_attention"],
            "rope_parameters": {**ROPE, "mrope_interleaved": True, "partial_rotary_factor": 1.0},
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_conv_kernel_dim": 4,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "patch_size": 8,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
        },
        **ids,
    )
    return Qwen3_5ForConditionalGeneration(config), words, qwen_images(8)


def llava(text: dict | None = None):
    """CLIP and Llama; its processor crops the middle of a picture, its tokenizer begins texts with a token and a space."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = spelled("<image>", space=True, template=CHAT.replace("IMAGE", "<image>"))
    config = LlavaConfig(
        text_config={"model_type": "llama", **TEXT, "vocab_size": len(words), **(text or {})},
        vision_config={"model_type": "clip_vision_model", **TOWER, "projection_dim": 32, "initializer_range": 0.2},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    return (
        LlavaForConditionalGeneration(config),
        words,
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )


def llava_lfm2():
    """A language model that mixes tokens by convolution."""
    return llava({"model_type": "lfm2", "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False})


def llava_siglip():
    from transformers import LlavaConfig, LlavaForConditionalGeneration
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words = spelled("<image>", template=CHAT.replace("IMAGE", "<image>"))
    config = LlavaConfig(
        text_config={"model_type": "qwen2", **TEXT, "vocab_size": len(words)},
        vision_feature_select_strategy="full",
        vision_config={"model_type": "siglip_vision_model", **TOWER},
        vision_feature_layer=-1,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config), words, SiglipImageProcessorPil(size={"height": 32, "width": 32})


def internvl():
    from transformers import InternVLConfig, InternVLForConditionalGeneration
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    words = spelled(
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
        template=CHAT.replace("IMAGE", "<IMG_CONTEXT>"),
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
    )
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **TEXT, "vocab_size": len(words)},
        vision_config={**TOWER, "image_size": [32, 32], "patch_size": [8, 8]},
        image_seq_length=4,
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
    return (
        InternVLForConditionalGeneration(config),
        words,
        GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True),
    )


def smolvlm():
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    words = spelled("<image>", "<fake_token_around_image>", "<global-img>", template=CHAT.replace("IMAGE", "<image>"))
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **TEXT, "vocab_size": len(words), "pad_token_id": 0},
        vision_config=TOWER,
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    return (
        SmolVLMForConditionalGeneration(config),
        words,
        SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
    )


def llava_mpt():
    """Positions by ALiBi: it counts the columns of a row, whatever positions it is given."""
    return llava({"model_type": "mpt"})


PACKED = (qwen2_5_vl, qwen3_vl, llava, llava_siglip, internvl, smolvlm)
ALONE = (qwen3_5, llava_lfm2, llava_mpt)


@pytest.fixture(scope="module", params=[*PACKED, *ALONE], ids=lambda make: make.__name__)
def loaded(request, tmp_path_factory):
    """Made by the class, saved in Hugging Face layout, loaded from disk."""
    torch.manual_seed(0)
    model, words, images = request.param()
    folder = tmp_path_factory.mktemp(request.param.__name__)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    images.save_pretrained(folder)
    model, processor = base.load(folder, TRAIN)
    return request.param, model.eval(), processor


def image(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def token_losses(model, packer, packs) -> torch.Tensor:
    """Cross-entropy of every answer token, in the order of packs and branches."""
    batch = packer.collate(packs)
    with torch.no_grad():
        hidden = packer.family.hidden(model, batch, packer.family.features(model, batch))
        log_probs = model.lm_head(hidden[batch["at"][:, 0], batch["at"][:, 1]]).log_softmax(-1)
    return -log_probs.gather(1, batch["labels"][:, None])[:, 0]


def test_packed_token_losses_equal_the_unpacked_run(loaded) -> None:
    make, model, processor = loaded
    packer, alone = packer_for(model, processor), Packer(model, processor, alone=True)
    packs = []
    for number, roles in enumerate((("image",), ("reference", "image"), ("reference", "A", "B"))):
        images = [image(10 * number + place, 48, 64 + 16 * place) for place in range(len(roles))]
        packs.append(Pack(images, roles, [packer.branch(roles, *pair) for pair in QUESTIONS]))
    packed, apart = token_losses(model, packer, packs), token_losses(model, alone, packs)
    assert packer.alone == (make in ALONE)
    assert len(packed) == len(apart) and torch.isfinite(packed).all()
    assert (packed - apart).abs().max() < 1e-5
    if make in ALONE:  # and rightly so: the mask would not have hidden the questions from each other
        assert (token_losses(model, Packer(model, processor), packs) - apart).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_probe_tells_who_can_pack(loaded, dtype) -> None:
    """What a mask hides leaves no trace in any precision; linear attention and convolutions carry it on."""
    make, model, processor = loaded
    leak, apart = probe(Packer(copy.deepcopy(model).to(dtype), processor))
    if make in ALONE:
        assert leak > LEAK or apart > 0.05
    else:
        assert leak == 0 and apart < (1e-5 if dtype == torch.float32 else 0.02)


def test_a_base_that_cannot_pack_says_so_once(loaded, capsys) -> None:
    make, model, processor = loaded
    vars(model).pop("_iqaflow_packs", None)
    packer_for(model, processor)
    packer_for(model, processor)
    said = capsys.readouterr().err
    assert said.count("one question per row") == (make in ALONE)


def test_each_image_is_encoded_once(loaded) -> None:
    _, model, processor = loaded
    packer = packer_for(model, processor)
    batch = packer.collate([Pack([image(0)], ("image",), [packer.branch(("image",), *pair) for pair in QUESTIONS])])
    visual = packer.family.visual(packer.family.features(model, batch), batch["tokens"].tolist())
    assert len(visual) == 1 and visual[0].shape == (int(batch["grids"].prod()), 32)


def test_the_prompt_is_the_librarys_own_and_the_answer_too(loaded) -> None:
    """Greedy `generate` on the ids of a whole prompt, tokenized in one piece, gives what a session writes."""
    make, model, processor = loaded
    engine = Engine(model, processor)
    picture, (question, _) = image(3), QUESTIONS[1]
    layout = engine.packer.layout(("image",))
    vision, placed = engine.packer.family.encode(processor, model.config, [picture])
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    text = processor.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    whole = processor.tokenizer(text.replace(processor.image_token, placed[0].text), return_tensors="pt")["input_ids"]
    begin = [] if layout.begin is None else [layout.begin]
    ours = [
        *begin,
        *engine.ids(layout.prefix.replace(processor.image_token, placed[0].text)),
        *engine.packer.branch(("image",), question).prompt,
    ]
    assert whole[0].tolist() == ours
    kinds = {"mm_token_type_ids": (whole == processor.image_token_id).int()} if engine.packer.family.axes > 1 else {}
    made = model.generate(
        input_ids=whole,
        attention_mask=torch.ones_like(whole),
        do_sample=False,
        max_new_tokens=6,
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.eos_token_id,
        **vision,
        **kinds,
    )[0, whole.shape[1] :].tolist()
    session = engine.session([[picture]], [["image"]])
    assert isinstance(session.tree, Rows if make in ALONE else Tree)
    ids = [token for token in made if token != processor.tokenizer.eos_token_id]
    prompt = engine.packer.branch(("image",), question).prompt
    assert session.tree.grow([(0, prompt)], 6, lambda t: t == processor.tokenizer.eos_token_id)[0][0] == ids
    assert session.write([Prompt(0, question)], 6)[0][0] == processor.tokenizer.decode(ids)


def test_an_objective_step_lowers_the_loss(loaded) -> None:
    _, model, processor = loaded
    packer = packer_for(model, processor)
    roles = ("reference", "image")
    batch = packer.collate([Pack([image(0), image(1)], roles, [packer.branch(roles, *pair) for pair in QUESTIONS])])
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    objective = Objective(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before, _ = objective(batch)
    before.backward()
    tower = [p for name, p in model.named_parameters() if p.grad is not None and ("vis" in name)]
    assert tower and any(float(p.grad.abs().sum()) > 0 for p in tower), "the vision part learns too"
    optimizer.step()
    with torch.no_grad():
        assert objective(batch)[0] < before
    model.zero_grad()
    model.load_state_dict(saved)


def test_inference_reads_spatial_logits(loaded) -> None:
    _, model, processor = loaded
    session = Engine(model, processor).session([[image(0)], [image(1, 64, 48), image(2)]], [["image"], ["reference", "image"]])
    found = session.spatial([Prompt(item, QUESTIONS[1][0]) for item in (0, 1)])
    for spatial, name in found:
        assert spatial.cells.shape == (grammar.CELLS,) and np.isclose(np.exp(spatial.cells).sum(), 1, atol=1e-4) and name


def test_the_whole_picture_is_shown(loaded) -> None:
    """The left edge of a wide picture reaches the model; a centre crop would hide it."""
    _, model, processor = loaded
    family = families.of(model.config)
    wide = image(0, 32, 128)
    marked = wide.copy()
    marked[:, :16] = 255 - marked[:, :16]
    one, two = (family.encode(processor, model.config, [picture])[0]["pixel_values"] for picture in (wide, marked))
    assert one.shape == two.shape and not torch.equal(one, two)


def test_split_answer_words_are_refused_in_a_sentence(loaded) -> None:
    make, _, processor = loaded
    if make in (qwen2_5_vl, qwen3_vl):  # these test checkpoints have the tiny base's words
        assert len(dense_head.DenseHead(processor.tokenizer, current()).ids["place"]) == grammar.CELLS
    else:
        with pytest.raises(StageError, match=r"train.dense needs single-token answer words, but the base splits .* set it to 0"):
            dense_head.DenseHead(processor.tokenizer, current())


def test_a_language_model_that_refuses_a_tree_mask_gets_one_question_per_row(tmp_path, capsys) -> None:
    torch.manual_seed(0)
    for part in llava({"model_type": "bloom", "n_layer": 2, "n_head": 4}):
        part.save_pretrained(tmp_path)
    model, processor = base.load(tmp_path, TRAIN)
    packer = packer_for(model, processor)
    assert packer.alone and "its bloom language model refuses a tree mask" in capsys.readouterr().err
    loss, _ = Objective(model)(packer.collate([Pack([image(0)], ("image",), [packer.branch(("image",), *QUESTIONS[0])])]))
    assert torch.isfinite(loss)


def test_an_unknown_architecture_is_refused_with_those_known(tmp_path) -> None:
    from transformers import BlipConfig, BlipForConditionalGeneration

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BlipForConditionalGeneration(
        BlipConfig(text_config={**small, "vocab_size": 50}, vision_config={**small, "image_size": 32})
    ).save_pretrained(tmp_path)
    with pytest.raises(StageError, match="type 'blip' is not known; known are idefics3, internvl, llava"):
        base.load(tmp_path, TRAIN)


@pytest.mark.parametrize("name", [name for name in presets() if "vl" in name])
def test_presets_of_real_bases(name: str) -> None:
    """Pinned, of a known family, without objectives that their tokenizers (which split numbers) cannot serve."""
    train = load(None, name, ("source.path=photos",)).train
    assert train.base.startswith("Qwen/Qwen") and len(train.revision) == 40 and int(train.revision, 16)
    assert train.dense == 0 and not train.soft_targets and train.precision == "bf16"
    assert train.lora_targets and train.zero_stage in (2, 3) and train.gradient_checkpointing
    assert json.dumps(train.model_dump())


def test_an_answer_read_piece_by_piece_is_the_answer_that_was_learnt(loaded) -> None:
    """The engine puts a grounding answer together; its tokens must spell it without the spaces some tokenizers add."""
    _, model, processor = loaded
    engine = Engine(model, processor)
    said: list[int] = []
    for piece in ("top", " left", ": [", "gray region", "](<", "21", ">)"):
        said += engine.ids(piece, begun=bool(said))
    learnt = engine.packer.branch(("image",), *QUESTIONS[1]).answer
    assert processor.tokenizer.decode(said) == processor.tokenizer.decode(learnt[:-1]) == QUESTIONS[1][1]


@pytest.mark.slow
def test_the_stage_fine_tunes_it(annotated, small_config, tmp_path) -> None:
    """The real ranks on a LLaVA base: adapters are merged into a model that loads and answers."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.train import stage

    root = tmp_path / "work"
    shutil.copytree(annotated, root)
    torch.manual_seed(0)
    for part in llava():
        part.save_pretrained(root / "models" / "small")
    same = TRAIN.model_dump(include={"min_pixels", "max_pixels", "dense", "soft_targets"})
    train = small_config.train.model_copy(update={**same, "base": "models/small", "tuning": "lora", "max_steps": 2, "lr": 1e-2})
    stage.run(small_config.model_copy(update={"train": train}), Workspace(root))
    before, after = (base.load(root / "models" / name)[0].state_dict() for name in ("small", "stage1"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys() and changed and all("_proj" in name for name in changed)
    session = Engine.load(root / "models" / "stage1").session([[image(0)]], [["image"]])
    assert session.choose([Prompt(0, QUESTIONS[2][0])], grammar.RATINGS).shape == (1, 5)
