"""The one config tree: `params.yaml` is this tree, presets are overlays on it, `--set a.b=c` overrides it.

    iqaflow config show --preset quick --set train.lr=1e-4

Sections are named like the stages. `resources` changes speed, never bytes, so no DVC stage depends on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PRESETS = Path(__file__).parent / "presets"
Share = Field(ge=0.0, le=1.0)


class ConfigError(ValueError):
    """The parameters are wrong; the message says which, where, and what was expected."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Splits(Section):
    train: int = Field(ge=1)
    """Training split."""
    calibration: int = Field(ge=1)
    """Calibration split: the only one stage two may read."""
    test: int = Field(ge=1)
    """Frozen test split: the only one the benchmark reads."""


class Source(Section):
    kind: Literal["packaged", "folder"] = "packaged"
    """Where photographs come from: `packaged` (inside scikit-image and scikit-learn) or `folder`."""
    path: str | None = None
    """Directory of images, searched recursively; needed by `folder`."""
    limit: int | None = Field(default=None, ge=3)
    """Use at most this many photographs, chosen by content hash; null uses all."""
    license: str = "unknown"
    """Licence kept with every photograph of a `folder` source."""
    min_side_px: int = Field(default=96, ge=32)
    """Photographs with a shorter side are quarantined."""
    max_pixels: int = Field(default=60_000_000, ge=10_000)
    """Images that claim more pixels are quarantined before they are decoded."""
    weights: Splits = Splits(train=5, calibration=2, test=3)
    """Shares of photographs per split; splits never share a photograph."""

    @model_validator(mode="after")
    def _path(self) -> Source:
        if self.kind == "folder" and not self.path:
            raise ValueError("source.path is missing: kind=folder needs a directory of images")
        return self


class Annotate(Section):
    images: Splits = Splits(train=1600, calibration=400, test=700)
    """How many annotated images each split gets; views of the photographs are cut until they are reached."""
    sizes_px: tuple[tuple[int, int], ...] = ((96, 96), (96, 128), (128, 96), (128, 128))
    """Height and width of a view, drawn per image."""
    scale: tuple[float, float] = (0.33, 1.0)
    """Range of downscaling before a view is cut; never above 1, so that a view is as sharp as its photograph."""
    clean: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of images left undistorted."""
    local: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of distorted images whose distortions lie inside regions."""
    two: float = Field(default=0.25, ge=0.0, le=1.0)
    """Share of distorted images with two distortions (global: in sequence; local: one per region)."""
    reference: float = Field(default=0.3, ge=0.0, le=1.0)
    """Share of images also asked about with the reference beside them (full reference)."""
    pairs: float = Field(default=0.5, ge=0.0, le=1.0)
    """Rating pairs made per image."""
    regions: Literal["superpixels"] = "superpixels"
    """How regions are found."""
    segments: tuple[int, int] = (4, 9)
    """Number of superpixels per view, drawn per image."""
    area: tuple[float, float] = (0.06, 0.5)
    """A region's share of its view, least and most."""
    visible: float = Field(default=0.9, gt=0.0, le=1.0)
    """A region counts as distorted only if its full-reference score is at most this; subtler changes are drawn again."""
    shard_images: int = Field(default=100, ge=1)
    """Images per shard: the unit that is resumed."""


class Validate(Section):
    max_rows_named: int = Field(default=20, ge=1)
    """How many offending rows a failed expectation names."""
    phash_distance: int = Field(default=2, ge=0)
    """Photographs of two splits whose perceptual hashes differ by this many bits or fewer are a leak."""
    pixel_rows: int | None = None
    """How many images the pixel pass decodes; null decodes all."""


class Train(Section):
    base: str = "models/base-tiny"
    """Local folder or hub id of the vision-language model to fine-tune, or `scratch` for a fresh tiny one."""
    revision: str | None = None
    """Hub revision (40 hex digits) when `base` is a hub id."""
    tuning: Literal["full", "lora"] = "full"
    """Train all weights, or low-rank adapters on the language model that are merged at the end."""
    lora_rank: int = Field(default=16, ge=1)
    """Rank of the adapters."""
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Modules that get adapters."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of weights and activations."""
    zero_stage: int = Field(default=0, ge=0, le=3)
    """DeepSpeed ZeRO stage."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: slower, less memory."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the training images."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimizer steps whatever `epochs` says."""
    micro_batch: int = Field(default=4, ge=1)
    """Packs (one image or image set with all its questions) per forward pass."""
    micro_batches: int = Field(default=2, ge=1)
    """Micro-batches per optimizer step, over all ranks: one rank accumulates what two would share."""
    questions: int = Field(default=8, ge=1)
    """Questions per pack, drawn per step."""
    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate."""
    warmup: int = Field(default=20, ge=0)
    """Warm-up steps."""
    decay: float = Field(default=0.3, ge=0.0, le=1.0)
    """Share of the steps, at the end, over which the rate falls linearly to zero."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW weight decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW moments."""
    clip: float = Field(default=1.0, gt=0)
    """Gradient norm limit."""
    dense: float = Field(default=0.5, ge=0)
    """Weight of the dense read-out of visual tokens; 0 for bases that split the category phrases into several tokens."""
    vision_images: int = Field(default=0, ge=0)
    """Images of a vision-only start on the dense read-out (used to make a base)."""
    soft_targets: bool = True
    """Point answers learn the region's distribution over cells, ratings the score between two words, instead of one word;
    for bases whose cells and rating words are single tokens."""
    checkpoint_steps: int = Field(default=100, ge=1)
    """Steps between committed checkpoints."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Committed checkpoints kept."""
    min_pixels: int = Field(default=4_096, ge=256)
    """Smaller images are enlarged to this many pixels, aspect kept."""
    max_pixels: int = Field(default=65_536, ge=1_024)
    """Larger images are reduced to this many pixels, aspect kept."""

    @model_validator(mode="after")
    def _dense(self) -> Train:
        if self.vision_images and not self.dense:
            raise ValueError("train.vision_images needs train.dense > 0: the dense read-out is all it trains")
        return self


class Calibrate(Section):
    segmenters: tuple[str, ...] = ("map", "superpixels", "random_walker", "grabcut")
    """Segmenters tried; the best by mIoU on the calibration split is kept."""
    temperatures: tuple[float, ...] = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
    """Temperatures tried for the position words."""
    points: tuple[int, ...] = (1, 3, 5)
    """Numbers of positive points tried."""
    max_items: int | None = Field(default=None, ge=10)
    """Use at most this many calibration images; null uses all."""
    bins: int = Field(default=10, ge=2)
    """Bins of the reliability plot and of ECE."""


class Benchmark(Section):
    bootstrap: int = Field(default=1000, ge=100)
    """Bootstrap resamples behind every 95 % interval."""
    max_items: int | None = Field(default=None, ge=10)
    """Use at most this many test images; null uses all."""
    primary: str = "identify.accuracy_single_nr"
    """Metric that must improve before a challenger is promoted."""
    guarded: tuple[str, ...] = ("score.srcc", "rate.accuracy", "ground.hit_rate", "ground.miou")
    """Metrics that must not get worse beyond noise."""
    descriptions: int = Field(default=60, ge=0)
    """Free-text descriptions generated and scored."""


class Schedule(Section):
    cron: str = "0 3 * * 0"
    """When the scheduled retraining starts."""
    timezone: str = "UTC"
    """Time zone of `cron`."""
    work_pool: str = "iqaflow"
    """Prefect process work pool that runs it."""
    retries: int = Field(default=2, ge=0)
    """Retries of a failed stage."""
    retry_seconds: int = Field(default=10, ge=0)
    """First wait before a retry; it doubles."""


class Track(Section):
    experiment: str = "iqaflow"
    """MLflow experiment."""
    model_name: str = "iqaflow"
    """Registered model."""
    probes: int = Field(default=8, ge=0)
    """Images drawn with ground truth and prediction in MLflow."""


class Resources(Section):
    workers: int | Literal["auto"] = "auto"
    """Annotation processes; auto uses the free cores."""
    engine: Literal["loky", "dask", "ray", "sequential"] = "loky"
    """joblib backend of the annotation shards."""
    ranks: int | Literal["auto"] = "auto"
    """Training ranks on this machine; auto shares the micro-batches of a step over free cores or GPUs."""
    threads: int = Field(default=1, ge=1)
    """Threads per rank; more than one changes the last bits of the weights."""


class Config(Section):
    seed: int = 0
    """Seed of everything random."""
    source: Source = Source()
    annotate: Annotate = Annotate()
    validate_: Validate = Field(default=Validate(), alias="validate")
    train: Train = Train()
    calibrate: Calibrate = Calibrate()
    benchmark: Benchmark = Benchmark()
    schedule: Schedule = Schedule()
    track: Track = Track()
    resources: Resources = Resources()

    def tree(self) -> dict[str, Any]:
        """The resolved tree as plain values, in the shape of `params.yaml`."""
        return self.model_dump(mode="json", by_alias=True)


def presets() -> list[str]:
    """Names for `--preset`."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load(path: Path | None = None, preset: str | None = None, overrides: tuple[str, ...] = ()) -> Config:
    """Read `path` (defaults where null), lay `preset` over it, then `a.b=c` overrides.

    Raises ConfigError with one sentence naming the key, the file and what was expected.
    """
    tree = Config().tree()
    if path:
        _merge(tree, _read(path))
    where = str(path) if path else "the defaults"
    if preset:
        if preset not in presets():
            raise ConfigError(f"Unknown preset {preset!r}; choose one of {', '.join(presets())}.")
        _merge(tree, _read(PRESETS / f"{preset}.yaml"))
        where += f" with preset {preset}"
    for text in overrides:
        _set(tree, text)
        where += f" with --set {text}"
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_sentence(error, where)) from None


def diff(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    a, b = flatten(old.tree()), flatten(new.tree())
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML, YAMLError

    try:
        tree = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: run inside an iqaflow checkout, or restore it with git.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line} is not valid YAML: {getattr(error, 'problem', None) or error}.") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold sections such as `train:`, but holds a {type(tree).__name__}.")
    return tree


def _merge(tree: dict[str, Any], overlay: dict[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _set(tree: dict[str, Any], text: str) -> None:
    from ruamel.yaml import YAML, YAMLError

    key, equals, raw = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text!r} is not of the form section.key=value.")
    try:
        value = YAML(typ="safe", pure=True).load(raw)
    except YAMLError:
        raise ConfigError(f"--set {text!r}: the value {raw!r} is not valid YAML.") from None
    if isinstance(value, str):  # YAML 1.2 needs a dot in 1e-4; people do not
        try:
            value = float(value)
        except ValueError:
            pass
    *parents, leaf = key.split(".")
    node = tree
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {text!r}: {part} is a value, not a section.")
    node[leaf] = value


def _sentence(error: ValidationError, where: str) -> str:
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {key!r}")
        elif item["type"] == "value_error":
            parts.append(item["msg"].removeprefix("Value error, "))
        else:
            parts.append(f"{key}: {item['msg'].lower()}, got {item['input']!r}")
    return f"Bad parameters in {where}: {'; '.join(parts)}."
