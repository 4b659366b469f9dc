"""Human scores by cross-validation: the base fine-tuned on a folder's scores.csv, beside classic measures on the same folds.

    python perf/human_scores.py FOLDER [--good PHOTOGRAPHS] [--epochs 3] [--lr 5e-4] [--folds 5]

FOLDER holds photographs and `scores.csv` (`image,mos[,std]`, see docs/human-scores.md). Near-duplicates share a fold. Of every
photograph the model sees the whole, reduced to `--side` pixels, and four corners of that side at full detail: a base that learnt
noise, blur and blocks on single pixels would lose them in the reduced image, and see no picture in the corners alone. While it
trains, every step shows one view of a photograph; when it is asked, the score is the mean of the whole's and the corners'.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from iqaflow.core.environment import prepare

prepare()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from iqaflow.annotate import imports  # noqa: E402
from iqaflow.benchmark import stats  # noqa: E402
from iqaflow.benchmark.metrics.correlation import pearson, spearman  # noqa: E402
from iqaflow.core.config.schema import Labelled  # noqa: E402
from iqaflow.core.workspace import Workspace  # noqa: E402
from iqaflow.data.images import SUFFIXES, decode, perceptual_hash  # noqa: E402
from iqaflow.engine.session import Engine, Prompt  # noqa: E402
from iqaflow.iqa import naturalness, scene_statistics  # noqa: E402
from iqaflow.model import base  # noqa: E402
from iqaflow.model.packing import Pack, packer_for  # noqa: E402
from iqaflow.sources.split import groups  # noqa: E402
from iqaflow.tasks import score as rating  # noqa: E402
from iqaflow.tasks.grammar import RATINGS  # noqa: E402
from iqaflow.train.objective import Objective  # noqa: E402

BATCH, WARMUP, DECAY, CLIP, WEIGHT_DECAY, BETAS = 8, 20, 0.5, 1.0, 0.05, (0.9, 0.98)
RESAMPLES = 2000
BEST = "50 nss features, SVR"


class Data:
    """Photographs with scores 0..1 and spreads, and the fold of each."""

    def __init__(self, folder: Path, folds: int, seed: int, limit: int | None) -> None:
        import cv2

        def say(what: str, why: str) -> None:
            print(f"left out: {what}: {why}")

        told = Labelled(name="scores", format="scores", path=str(folder.resolve()), images=str(folder))
        items = imports.read(told, Workspace(Path.cwd()), say)[:limit]
        places = {path.name: path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
        kept = [item for item in items if Path(item.images[0][1]).name in places]
        print(f"{folder}: {len(kept)} photographs with scores, {items[0].score_source}; {len(items) - len(kept)} are not there")
        self.images = [decode(places[Path(item.images[0][1]).name]) for item in kept]
        cv2.setNumThreads(1)
        self.scores = np.array([item.score for item in kept])
        self.spreads = [item.spread for item in kept]
        scenes = groups(np.array([int(perceptual_hash(image), 16) for image in self.images], np.uint64))
        order = np.random.default_rng(seed).permutation(scenes.max() + 1)
        self.fold = (order % folds)[scenes]

    def __len__(self) -> int:
        return len(self.images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--good", type=Path, help="good photographs for the NIQE-class distance (without opinions)")
    parser.add_argument("--model", type=Path, default=Path("models/base-tiny"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--ratings", choices=("linear", "distribution"), default="linear")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="write every prediction here")
    parser.add_argument("--limit", type=int, help="use this many photographs only")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(chosen.folder, chosen.folds, chosen.seed, chosen.limit)
    predicted = dict(baselines(data, chosen.good))
    report(data, predicted)
    print(flush=True)
    begun = time.process_time()
    tuned = {name: np.full(len(data), np.nan) for name in ("base-tiny as shipped", "fine-tuned, whole", "fine-tuned")}
    for fold in range(chosen.folds):
        asked = np.flatnonzero(data.fold == fold)
        for name, values in fold_of_model(data, fold, asked, chosen).items():
            tuned[name][asked] = values
        print(
            f"fold {fold}: SRCC {value(spearman, data.scores[asked], tuned['fine-tuned'][asked]):.4f} (n={len(asked)}), "
            f"{(time.process_time() - begun) / 60:.1f} CPU minutes",
            flush=True,
        )
    tuned[f"mean of it and {BEST}"] = (tuned["fine-tuned"] + predicted[BEST]) / 2
    report(data, predicted | tuned)
    if chosen.csv:
        columns = {"fold": data.fold, "score": data.scores} | predicted | tuned
        rows = np.stack(list(columns.values()), 1)
        np.savetxt(chosen.csv, rows, "%.5f", ",", header=",".join(name.replace(",", "") for name in columns), comments="")
    for name in predicted:
        print(f"fine-tuned minus {name}: " + paired(data.scores, tuned["fine-tuned"], predicted[name]))


def baselines(data: Data, good: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Predictions for every photograph by measures fitted on the other folds; the NIQE-class distance is fitted on no opinion."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    features = np.stack([scene_statistics.features(image) for image in data.images])
    tried = {"C": (0.3, 1.0, 3.0), "gamma": (0.3 / features.shape[1], 1 / features.shape[1], 3 / features.shape[1])}
    makers: dict[str, Callable] = {
        "SVR": lambda: GridSearchCV(SVR(epsilon=0.05), tried, scoring="r2", cv=5),
        "ridge": lambda: RidgeCV(np.logspace(-2, 4, 13)),
    }
    for name, count in (("BRISQUE's 36 features", 36), ("50 nss features", features.shape[1])):
        for kind, make in makers.items():
            values = np.zeros(len(data))
            for fold in np.unique(data.fold):
                learnt, asked = data.fold != fold, data.fold == fold
                model = make_pipeline(StandardScaler(), make()).fit(features[learnt, :count], data.scores[learnt])
                values[asked] = model.predict(features[asked, :count])
            yield f"{name}, {kind}", values
    if good:
        natural = naturalness.fit(decode(path) for path in sorted(good.rglob("*")) if path.suffix.lower() in SUFFIXES)
        yield "NIQE-class distance", -np.array([naturalness.distance(image, natural) for image in data.images])


def views(image: np.ndarray, side: int) -> list[np.ndarray]:
    """The whole, its short side reduced to `side`, and the four corners at full detail; a small image is not enlarged."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, side / min(height, width))
    whole = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return [whole, *(cut(image, side, top, left) for top in (0.0, 1.0) for left in (0.0, 1.0))]


def cut(image: np.ndarray, side: int, top: float, left: float) -> np.ndarray:
    """A window of `side`, `top` and `left` 0..1 of where it can be."""
    y, x = (round(place * max(0, length - side)) for place, length in zip((top, left), image.shape[:2], strict=True))
    return image[y : y + side, x : x + side]


def fold_of_model(data: Data, fold: int, asked: np.ndarray, chosen: argparse.Namespace) -> dict[str, np.ndarray]:
    """Scores of a fold's photographs by the base as it is (their whole) and after fine-tuning on the other folds."""
    torch.manual_seed(chosen.seed)
    model, processor = base.load(chosen.model)
    processor.image_processor.size = {"shortest_edge": 1024, "longest_edge": 1 << 20}
    before = read(Engine(model, processor), [[views(data.images[one], chosen.side)[0]] for one in asked])[:, 0]
    train(model, processor, data, np.flatnonzero(data.fold != fold), fold, chosen)
    after = read(Engine(model, processor), [views(data.images[one], chosen.side) for one in asked])
    whole = after[:, 0]
    return {"base-tiny as shipped": before, "fine-tuned, whole": whole, "fine-tuned": (whole + after[:, 1:].mean(1)) / 2}


def train(model, processor, data: Data, learnt: np.ndarray, fold: int, chosen: argparse.Namespace) -> None:
    """Full fine-tuning, all weights, on one question: half of the steps show wholes, half windows at full detail."""
    packer, rng = packer_for(model.train(), processor), np.random.default_rng([chosen.seed, fold])
    words = np.array(processor.tokenizer.convert_tokens_to_ids(list(RATINGS)))
    objective, steps = Objective(model), max(1, round(chosen.epochs * len(learnt) / BATCH))
    matrices, vectors = ([one for one in model.parameters() if (one.ndim > 1) == many] for many in (True, False))
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}], lr=chosen.lr, betas=BETAS
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (WARMUP + 1)) * min(1.0, (steps - step) / max(1, DECAY * steps))
    )
    queue: list[int] = []
    for _ in range(steps):
        if len(queue) < BATCH:
            queue += rng.permutation(learnt).tolist()
        batch, queue = queue[:BATCH], queue[BATCH:]
        whole, packs = rng.random() < 0.5, []
        for one in batch:
            image = data.images[one]
            view = views(image, chosen.side)[0] if whole else cut(image, chosen.side, *rng.random(2))
            view = np.ascontiguousarray(view[:, ::-1] if rng.random() < 0.5 else view)
            score = float(data.scores[one])
            spread = (data.spreads[one] or rating.OPINIONS) if chosen.ratings == "distribution" else 0.0
            branch = packer.branch(["image"], rating.plain_question(), rating.word(score))
            branch.soft[0] = words, rating.shares(score, spread)
            packs.append(Pack([view], ["image"], [branch]))
        loss, _ = objective(packer.collate(packs))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def read(engine: Engine, images: list[list[np.ndarray]]) -> np.ndarray:
    """The expected score (n, views) of every view, by the product's own read-out."""
    several = len(images[0])
    flat = [np.ascontiguousarray(view) for shown in images for view in shown]
    scores = []
    with torch.no_grad():
        for start in range(0, len(flat), BATCH):
            some = flat[start : start + BATCH]
            session = engine.session([[view] for view in some], [["image"]] * len(some))
            logs = session.choose([Prompt(at, rating.plain_question()) for at in range(len(some))], RATINGS)
            scores.append(np.exp(logs) @ np.array(rating.VALUES))
    return np.concatenate(scores).reshape(-1, several)


def value(reduce: stats.Reduce, truth: np.ndarray, given: np.ndarray) -> float:
    return float(reduce(np.stack([truth, given], 1), np.ones((1, len(truth))))[0])


def report(data: Data, predicted: dict[str, np.ndarray]) -> None:
    print("\n| measure | SRCC | 95 % | PLCC | 95 % | n |\n|---|---|---|---|---|---|")
    for name, given in predicted.items():
        columns, cells = np.stack([data.scores, given], 1), []
        for reduce in (spearman, pearson):
            low, high = stats.interval(stats.values(reduce, columns, RESAMPLES, 0)) or (float("nan"),) * 2
            cells.append(f"{value(reduce, data.scores, given):.3f} | {low:.3f} to {high:.3f}")
        print(f"| {name} | {' | '.join(cells)} | {len(data)} |", flush=True)


def paired(truth: np.ndarray, new: np.ndarray, old: np.ndarray) -> str:
    """Differences of both correlations on the same resamples of photographs."""
    said = []
    for name, reduce in (("SRCC", spearman), ("PLCC", pearson)):
        samples = [stats.values(reduce, np.stack([truth, given], 1), RESAMPLES, 0) for given in (new, old)]
        low, high = stats.interval(samples[0] - samples[1]) or (float("nan"),) * 2
        said.append(f"{name} {value(reduce, truth, new) - value(reduce, truth, old):+.3f} ({low:+.3f} to {high:+.3f})")
    return ", ".join(said)


if __name__ == "__main__":
    main()
