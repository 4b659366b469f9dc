"""The plan against what then happens: parameters, memory held, steps, packs; and nothing invented."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from iqaflow.core import config as settings
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.model import base
from iqaflow.model.packing import packer_for
from iqaflow.train import student
from iqaflow.train.dataset import Packs
from iqaflow.train.objective import Objective
from iqaflow.train.sizing import plan as module
from iqaflow.train.sizing import samples
from iqaflow.train.sizing.footprint import activations, memory, parameters, skeleton
from tests.representatives import representatives

ROOT = Path(__file__).parents[2]
BASE = ROOT / "models" / "base-tiny"
# published sizes of the released bases: text (width, blocks, feed-forward, heads), tied, tower (blocks, width, feed-forward)
QWEN3 = {
    2_127_532_032: ((2048, 28, 6144, 16), True, (24, 1024, 4096, [5, 11, 17])),
    4_437_815_808: ((2560, 36, 9728, 32), True, (24, 1024, 4096, [5, 11, 17])),
    8_767_123_696: ((4096, 36, 12288, 32), False, (27, 1152, 4304, [8, 16, 24])),
}
HELD = """
import gc, json, sys
from pathlib import Path
from iqaflow.core.config import Config
from iqaflow.core.environment import prepare
prepare()
import torch
from iqaflow.train.ranks import worker
from iqaflow.train.run import Run
from iqaflow.core.workspace import Workspace
job = json.loads(Path(sys.argv[1]).read_text())
worker.environment()
run = Run(Config.model_validate(job["config"]), Workspace(Path(job["root"])), Path(job["work"]))
run.log = None


def held():
    gc.collect()
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
                for one in gc.get_objects() if isinstance(one, torch.Tensor) and one.device.type == "cpu"}.values())


run.step(0)
step, seen = run.engine.step, []
run.engine.step = lambda: (seen.append(held()), step())  # gradients are there, activations are not
run.step(1)
print("held", seen[-1], held())
"""


def qwen3(text, tied, tower):
    from transformers import Qwen3VLConfig

    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    return Qwen3VLConfig(
        text_config=dict(
            zip(("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"), text, strict=True),
            num_key_value_heads=8,
            head_dim=128,
            vocab_size=151936,
            tie_word_embeddings=tied,
            rope_parameters=rope,
        ),
        vision_config=dict(
            zip(("depth", "hidden_size", "intermediate_size", "deepstack_visual_indexes"), tower, strict=True),
            num_heads=16,
            out_hidden_size=text[0],
            patch_size=16,
            num_position_embeddings=2304,
        ),
        tie_word_embeddings=tied,
    )


def with_base(small_config, **train):
    return small_config.model_copy(update={"train": small_config.train.model_copy(update={"base": str(BASE), **train})})


@pytest.mark.parametrize("published", QWEN3)
def test_parameters_of_real_bases_from_their_config(published: int) -> None:
    train = settings.load(None, "qwen3-vl-4b", ("source.path=photos",)).train
    assert parameters(skeleton(qwen3(*QWEN3[published]), train.model_copy(update={"tuning": "full"}))) == (published, published)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_parameters_equal_the_loaded_models(annotated, small_config, tuning) -> None:
    config = with_base(small_config, tuning=tuning)
    made = module.plan(config, Workspace(annotated))
    model = student.tuned(base.load(BASE, config.train)[0], config.train)
    assert (made.parameters, made.trained) == parameters(model)
    assert made.trained == sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert (made.trained < made.parameters) == (tuning == "lora")


def test_packs_steps_and_tokens_equal_the_trainers(trained, small_config) -> None:
    """`trained` is a real run of this very configuration, from scratch."""
    made = module.plan(small_config, Workspace(trained))
    manifest = json.loads((trained / "models" / "stage1" / "manifest.json").read_text())
    assert made.steps == manifest["steps"] == 8
    whole = small_config.model_copy(update={"train": small_config.train.model_copy(update={"max_steps": None})})
    from iqaflow.train.dataset import Packs

    model, processor = base.load(trained / "models" / "stage1")
    packs = Packs(trained / "data" / "annotated", "train", packer_for(model, processor), small_config.train, small_config.seed)
    assert made.packs == len(packs)
    assert module.plan(whole, Workspace(trained)).steps == round(len(packs) / 4)
    seen = packs.packer.collate([packs.pack(packs.order(0)[0], 0)[0]])
    real = int((seen["segments"] >= 0).sum())
    assert made.load.tokens_most >= real and 0.5 < made.load.tokens / real < 2
    assert made.load.image_tokens + made.load.question_tokens + made.load.answer_tokens <= made.load.tokens
    assert made.rate_from == "the last run of this base here" and made.rate > 0
    assert made.seconds == pytest.approx(made.steps * 4 / made.rate)


@pytest.mark.parametrize(("precision", "stage"), representatives([("fp32", 0), ("bf16", 3)]))
def test_memory_is_what_a_real_run_holds(annotated, small_config, tmp_path, precision, stage) -> None:
    """Weights, gradients and optimizer states of the real worker, counted tensor by tensor before and after its second step."""
    config = with_base(small_config, soft_targets=False, dense=0.0, precision=precision, zero_stage=stage)
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"config": config.tree(), "root": str(annotated), "work": str(tmp_path)}))
    done = subprocess.run([sys.executable, "-c", HELD, str(job)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = map(int, done.stdout.rsplit("held ", 1)[1].split())
    use = module.plan(config, Workspace(annotated)).memory
    before, after = before - use.buffers, after - use.buffers  # the bucket would hide the rest
    assert use.weights + use.optimizer == pytest.approx(after, rel=0.25)
    assert use.weights + use.gradients + use.optimizer == pytest.approx(before, rel=0.25)


def test_activations_are_near_what_the_backward_pass_keeps(annotated, small_config) -> None:
    config = with_base(small_config, soft_targets=False, dense=0.0)
    made = module.plan(config, Workspace(annotated))
    model, processor = base.load(BASE, config.train)
    packs = Packs(Workspace(annotated).annotated, "train", packer := packer_for(model, processor), config.train, config.seed)
    sample = [packs.pack(number, 0)[0] for number in packs.order(0)[: samples.SAMPLE]]
    batch = packer.collate(sorted(sample, key=lambda pack: sum(len(branch.prompt) for branch in pack.branches))[-2:])
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        Objective(model.train())(batch)
    assert made.memory.activations == pytest.approx(sum(kept.values()), rel=0.35)
    fewer = config.train.model_copy(update={"gradient_checkpointing": True})
    assert activations(model.config, fewer, made.load) < made.memory.activations


def test_zero_stages_share_what_they_say(small_config, annotated) -> None:
    config = with_base(small_config, precision="bf16")
    load, hf = module.plan(config, Workspace(annotated)).load, base.load(BASE)[0].config

    def of(stage: int, ranks: int, offload: bool = False):
        return memory(hf, 1000, 800, config.train.model_copy(update={"zero_stage": stage, "offload": offload}), ranks, load)

    assert (of(0, 4).weights, of(0, 4).gradients, of(0, 4).optimizer) == (2000, 1600, 9600)
    assert (of(1, 4).weights, of(1, 4).gradients, of(1, 4).optimizer) == (2000, 1600, 2400)
    assert (of(2, 4).weights, of(2, 4).gradients, of(2, 4).optimizer) == (2000, 400, 2400)
    assert (of(3, 4).weights, of(3, 4).gradients, of(3, 4).optimizer) == (500, 400, 2400)
    assert (of(2, 4, True).optimizer, of(2, 4, True).host) == (0, 2400)
    assert (of(0, 4).buffers, of(2, 4).buffers) == (0, 1_000_000_000)


def test_without_data_the_templates_speak_and_nothing_is_invented(small_config, annotated, tmp_path, capsys) -> None:
    config = with_base(small_config)
    assert module.run(config, Workspace(tmp_path), as_json=True) == 0
    told, real = json.loads(capsys.readouterr().out), module.plan(config, Workspace(annotated))
    assert told["rate"] is None and told["seconds"] is None and told["rate_from"] == "unknown: run with --trial"
    assert told["tokens_from"].startswith("the task templates")
    assert 0.5 < told["load"]["tokens"] / real.load.tokens < 2 and 0.5 < told["packs"] / real.packs < 2
    with pytest.raises(StageError, match=r"--trial trains on .* run `iqaflow annotate` first"):
        module.plan(config, Workspace(tmp_path), trial=True)


def test_a_trial_measures_and_leaves_nothing(annotated, small_config, tmp_path, capsys) -> None:
    root = tmp_path / "work"
    shutil.copytree(annotated, root)
    assert module.run(with_base(small_config, soft_targets=False, dense=0.0), Workspace(root), trial=True) == 0
    said = capsys.readouterr().out
    assert "5 steps timed on this machine" in said and "unknown" not in said
    assert not list((root / ".iqaflow" / "scratch" / "plan").glob("*")) and not (root / "models").exists()


def test_a_base_that_is_not_at_hand_is_one_sentence(small_config, tmp_path) -> None:
    with pytest.raises(StageError, match=r"needs train\.revision"):
        module.plan(with_base(small_config, base="nobody/nothing"), Workspace(tmp_path))
