"""What is trained, and how it is saved: adapters, frozen parts, mixtures, micro-batches made ahead, losses by task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.train import dataset, stage, student

BASE = Path(__file__).parents[2] / "models" / "base-tiny"


def configured(config, **train):
    return config.model_copy(
        update={"train": config.train.model_copy(update={"base": str(BASE), "lr": 1e-3, "max_steps": 3, **train})}
    )


def run(annotated: Path, root: Path, config) -> Path:
    shutil.copytree(annotated, root)
    stage.run(config, Workspace(root))
    return root / "models" / "stage1"


def test_adapters_are_saved_merged_and_alone(annotated, tmp_path, small_config):
    """The merged weights answer as the base with its adapter, loaded by peft; only the language model changed."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    made = run(annotated, tmp_path / "work", configured(small_config, tuning="lora", lora_rank=4))
    before, after = load_file(BASE / "model.safetensors"), load_file(made / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("language_model" in name and "_proj" in name for name in changed)
    assert set(after) == set(before)
    adapted = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(BASE), made / "adapter")
    merged = AutoModelForImageTextToText.from_pretrained(made)
    words = torch.arange(10, 40)[None]
    with torch.no_grad():
        one, other, base = (
            model(input_ids=words).logits for model in (adapted, merged, AutoModelForImageTextToText.from_pretrained(BASE))
        )
    assert torch.allclose(one, other, atol=1e-4) and not torch.allclose(one, base, atol=1e-2)
    assert json.loads((made / "adapter" / "adapter_config.json").read_text())["r"] == 4


@pytest.mark.slow
def test_frozen_parts_keep_their_bits(annotated, tmp_path, small_config):
    import torch

    made = run(annotated, tmp_path / "work", configured(small_config, frozen=("vision", "projector")))
    before, after = load_file(BASE / "model.safetensors"), load_file(made / "model.safetensors")
    for name in before:
        assert torch.equal(before[name], after[name]) == ("visual" in name), name


def test_what_cannot_be_frozen_is_said(small_config):
    from iqaflow.model import base

    model, _ = base.load(BASE)
    with pytest.raises(StageError, match="leaves nothing to train"):
        student.freeze(model, configured(small_config, frozen=("vision", "projector", "language")).train)
    language = model.model.language_model
    with pytest.raises(StageError, match="has no such part"):
        student.freeze(language, configured(small_config, frozen=("vision",)).train)


def test_a_mixture_holds_its_shares_everywhere():
    names = ["a"] * 900 + ["b"] * 100
    order = dataset.mixed(names, {"a": 1.0, "b": 3.0}, seed=3)
    first = order(0)
    assert len(first) == 1000 and np.array_equal(first, dataset.mixed(names, {"a": 1.0, "b": 3.0}, seed=3)(0))
    for start in range(0, 1000, 100):
        assert sum(names[number] == "b" for number in first[start : start + 100]) == pytest.approx(75, abs=1)
    seen = [number for number in first if names[number] == "b"]
    assert set(seen[:100]) == set(seen[100:200]) == set(range(900, 1000))  # all of them before one comes again
    assert not np.array_equal(first, order(1))
    with pytest.raises(StageError, match="weigh each of these"):
        dataset.mixed(names, {"a": 1.0}, seed=0)


@pytest.mark.slow
def test_a_mixed_training_runs(annotated, tmp_path, small_config):
    run(annotated, tmp_path / "work", configured(small_config, mixture={"synthetic": 2.0}))
    with pytest.raises(StageError, match="weighs"):
        run(annotated, tmp_path / "other", configured(small_config, mixture={"people": 1.0}))


def test_micro_batches_made_ahead_are_the_same(annotated, small_config):
    import torch

    from iqaflow.model import base
    from iqaflow.train.batches import Batches

    config = configured(small_config)
    ahead, alone = (Batches(config, Workspace(annotated), *base.load(BASE)) for _ in range(2))
    places = [(step, micro) for step in range(3) for micro in range(2)]
    for place, then in zip(places, [*places[1:], None], strict=True):
        made, wanted = ahead.take(*place, then), alone.make(*place)
        assert all(torch.equal(made[key], wanted[key]) for key in wanted if isinstance(wanted[key], torch.Tensor))


def test_the_log_has_a_loss_per_task_that_adds_up(annotated, small_config):
    import torch

    from iqaflow import tasks
    from iqaflow.model import base
    from iqaflow.train.batches import Batches
    from iqaflow.train.objective import Objective

    model, processor = base.load(BASE)
    batch = Batches(configured(small_config), Workspace(annotated), model, processor).make(0, 0)
    with torch.no_grad():
        loss, parts = Objective(model)(batch)
    sums = parts["tasks"]
    assert sums.shape == (len(tasks.names()), 2) and (sums[:, 1] > 0).sum() >= 2
    assert float(sums[:, 0].sum() / sums[:, 1].sum()) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.slow
def test_the_best_weights_by_calibration_loss_are_the_result(annotated, tmp_path, small_config):
    """A rate that soon ruins the weights: an early measurement stays the best. Training stops soon after it, and ends in the
    same weights as when it goes on to the end.
    """
    import torch

    wild = {"lr": 0.3, "warmup": 3, "epochs": 20.0, "max_steps": 24, "evaluate_steps": 2, "evaluate_packs": 8}
    made, whole = (
        run(annotated, tmp_path / name, configured(small_config, patience=patience, **wild))
        for name, patience in (("early", 2), ("late", None))
    )
    early, late = ((tmp_path / name / "reports" / "train.csv").read_text().splitlines()[1:] for name in ("early", "late"))
    assert len(early) < len(late) == 24 and early == late[: len(early)]
    kept, again = load_file(made / "model.safetensors"), load_file(whole / "model.safetensors")
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_adapters_stay_out_of_vision_towers(small_config):
    """CLIP's attention names its layers as language models do."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**size, image_size=16, patch_size=8),
            text_config=LlamaConfig(**size, vocab_size=50),
            image_token_id=1,
        )
    )
    student.tuned(model, configured(small_config, tuning="lora").train)
    learnt = [name for name, weights in model.named_parameters() if weights.requires_grad]
    assert len(learnt) == 8 and all("language_model" in name and ".lora_" in name for name in learnt)


def test_a_token_budget_holds_and_every_pack_comes_once(annotated, small_config):
    """The lengths that were planned are those of the tensors, padding included."""
    from iqaflow.model import base
    from iqaflow.train.batches import Batches

    budget = 700
    model, processor = base.load(BASE)
    made = Batches(
        configured(small_config, tokens=budget, epochs=2.0, max_steps=None, micro_batches=1),
        Workspace(annotated),
        model,
        processor,
    )
    passes = [
        [pack for step in range(half, half + made.steps // 2) for pack in made.members(step, 0)] for half in (0, made.steps // 2)
    ]
    for epoch, members in enumerate(passes):
        assert sorted(members) == [(number, epoch) for number in range(len(made))]
    assert made.steps < 2 * len(made)  # several packs fit
    for step in range(made.steps - 1):
        members, batch = made.members(step, 0), made.make(step, 0)
        shapes = [made.packs.shape(number, epoch) for number, epoch in members]
        assert batch["input_ids"].shape == (sum(rows for rows, _ in shapes), max(width for _, width in shapes))
        assert batch["input_ids"].numel() <= budget or len(members) == 1


@pytest.mark.slow
def test_a_training_by_tokens_ends_in_the_same_bytes_on_two_ranks(annotated, tmp_path, small_config):
    import torch

    one, two = (
        run(
            annotated,
            tmp_path / str(ranks),
            configured(small_config, tokens=700).model_copy(
                update={"resources": small_config.resources.model_copy(update={"ranks": ranks})}
            ),
        )
        for ranks in (1, 2)
    )
    first, second = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)
