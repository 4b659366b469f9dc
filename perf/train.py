"""Packed training against the plain `transformers.Trainer`: the same model, images, questions and loss tokens, one thread.

    python perf/train.py [--model models/base-tiny] [--images 96] [--questions 8]

Ours encodes an image once for all its questions; the Trainer sees one question with its image per sample, as fine-tuning
scripts do. Samples are questions. Both run fp32 AdamW with clipping; warm-up steps are dropped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from iqaflow.core.environment import prepare

prepare()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from iqaflow.annotate import stage as annotate  # noqa: E402
from iqaflow.core import config as settings  # noqa: E402
from iqaflow.core.workspace import Workspace  # noqa: E402
from iqaflow.model import base  # noqa: E402
from iqaflow.model.packing import Pack, packer_for  # noqa: E402
from iqaflow.train.dataset import Packs  # noqa: E402
from iqaflow.train.objective import Objective  # noqa: E402

WARM = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/base-tiny"))
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--packs", type=int, default=8, help="packs per step, and samples per step of the Trainer")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen_config = settings.load(
        overrides=(
            f"annotate.images.train={chosen.images}",
            "annotate.images.calibration=4",
            "annotate.images.test=4",
            f"train.questions={chosen.questions}",
            "train.dense=0",
            "train.soft_targets=false",
            "resources.workers=1",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        annotate.run(chosen_config, workspace)
        model, processor = base.load(chosen.model, chosen_config.train)
        packs = Packs(workspace.annotated, "train", packer_for(model, processor), chosen_config.train, 0)
        several = [packs.pack(number, 0)[0] for number in packs.order(0)]
        print(f"{len(several)} packs, {sum(len(pack.branches) for pack in several)} questions of {chosen.images} images.")
        ours = packed(model, packs.packer, several, chosen.packs)
        model, processor = base.load(chosen.model, chosen_config.train)
        theirs = plain(model, packs.packer, several, chosen.packs, folder)
        whole, waited = staged(chosen, chosen_config, workspace)
    print("| way | questions/s | images encoded per question | loss of the first step's questions |\n|---|---|---|---|")
    print(f"| `transformers.Trainer`, one question a sample | {theirs[0]:.1f} | 1.00 | {theirs[1]:.4f} |")
    print(f"| packed | {ours[0]:.1f} | {ours[2]:.2f} | {ours[1]:.4f} |")
    print(f"| packed, the whole stage (DeepSpeed, pictures decoded, next batch made meanwhile) | {whole:.1f} | {ours[2]:.2f} | |")
    print(
        f"\n{ours[0] / theirs[0]:.1f} times as many questions a second; fetching and collating took "
        f"{ours[3]:.1%} of the packed time. The stage waited {waited:.1%} of its steps' time for data."
    )


def staged(chosen: argparse.Namespace, config: settings.Config, workspace: Workspace) -> tuple[float, float]:
    """`iqaflow train` itself on the same questions, one rank: questions a second and the share of time spent waiting for data,
    medians over its steps.
    """
    from iqaflow.train import step_log as steps
    from iqaflow.train.ranks import launch

    train = config.train.model_copy(
        update={
            "base": str(chosen.model.resolve()),
            "micro_batch": chosen.packs,
            "micro_batches": 1,
            "epochs": 2.0,
            "checkpoint_steps": 1000,
        }
    )
    config = config.model_copy(
        update={"train": train, "resources": config.resources.model_copy(update={"ranks": 1, "threads": 1})}
    )
    work = workspace.root / "stage"
    work.mkdir()
    launch.train(config, workspace, work)
    rows = steps.rows(work / "steps.jsonl")[WARM:]
    share = float(np.median([row["data_wait_share"] for row in rows]))
    asked = float(np.median([row["samples_per_second"] for row in rows])) * _questions(config, workspace)
    return asked, share


def _questions(config: settings.Config, workspace: Workspace) -> float:
    """Questions a pack, on average."""
    model, processor = base.load(config.train.base, config.train)
    packs = Packs(workspace.annotated, "train", packer_for(model, processor), config.train, 0)
    return float(np.mean([len(packs.pack(number, 0)[0].branches) for number in range(len(packs))]))


def packed(model, packer, several: list[Pack], batch: int) -> tuple[float, float, float, float]:
    objective, optimizer = Objective(model), torch.optim.AdamW(model.parameters(), lr=1e-5)
    asked, images, fetch, first, begun = 0, 0, 0.0, float("nan"), 0.0
    for step, start in enumerate(range(0, len(several) - batch + 1, batch)):
        if step == WARM:
            asked, images, fetch, begun = 0, 0, 0.0, time.perf_counter()
        chunk, fetched = several[start : start + batch], time.perf_counter()
        tensors = packer.collate(chunk)
        fetch += time.perf_counter() - fetched
        loss, _ = objective(tensors)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        first = float(loss.detach()) if step == 0 else first
        asked += sum(len(pack.branches) for pack in chunk)
        images += sum(len(pack.images) for pack in chunk)
    seconds = time.perf_counter() - begun
    return asked / seconds, first, images / asked, fetch / seconds


def plain(model, packer, several: list[Pack], batch: int, folder: str) -> tuple[float, float]:
    """The library's loop; its loss is put together as ours, over the very tokens, so that the first steps can be compared."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    samples = [Pack(pack.images, pack.roles, [branch]) for pack in several for branch in pack.branches]
    # the questions of our first step, under the model both begin with
    with torch.no_grad():
        alone = [
            packer.collate([Pack(pack.images, pack.roles, [branch])]) for pack in several[:batch] for branch in pack.branches
        ]
        parts = [(float(Objective(model)(tensors)[0]), float(tensors["weights"].sum())) for tensors in alone]
    first = float(np.average([loss for loss, _ in parts], weights=[weight for _, weight in parts]))

    class Clock(TrainerCallback):
        begun = 0.0

        def on_step_end(self, args, state, control, **_):
            if state.global_step == WARM:
                self.begun = time.perf_counter()

    def collate(chunk: list[Pack]) -> dict[str, torch.Tensor]:
        pixels, placed = packer.family.encode(packer.processor, model.config, [image for pack in chunk for image in pack.images])
        places = iter(placed)
        rows = [packer._row(pack, [next(places) for _ in pack.images]) for pack in chunk]
        width, pad = max(len(row["ids"]) for row in rows), packer.processor.tokenizer.pad_token_id
        ids = torch.full((len(rows), width), pad)
        labels, mask = torch.full((len(rows), width), -100), torch.zeros((len(rows), width), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row["ids"])] = torch.tensor(row["ids"])
            mask[number, : len(row["ids"])] = 1
            for column, label, *_ in row["answers"]:
                labels[number, column + 1] = label
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels,
            "pixel_values": pixels["pixel_values"],
            "image_grid_thw": pixels["image_grid_thw"],
            "mm_token_type_ids": (ids == packer.processor.image_token_id).long(),
        }

    clock, steps = Clock(), min(len(samples) // batch, 4 * WARM + len(several) // batch)
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=batch,
        max_steps=steps,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        learning_rate=1e-5,
        max_grad_norm=1.0,
        disable_tqdm=True,
        optim="adamw_torch",
    )
    Trainer(model=model, args=arguments, train_dataset=samples, data_collator=collate, callbacks=[clock]).train()
    return (steps - WARM) * batch / (time.perf_counter() - clock.begun), first


if __name__ == "__main__":
    main()
