"""The sections of `params.yaml`: every parameter with its type, default, limits and meaning.

They are named like the stages; the package puts them together, loads and overrides them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCORES = "scores"  # the format of opinion scores, and the labelled data set that `source.scores` makes
SCORES_TABLE = "scores.csv"  # what their file is usually called


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Splits(Section):
    train: int = Field(ge=1)
    """Training split."""
    calibration: int = Field(ge=1)
    """Calibration split: the only one stage two may read."""
    test: int = Field(ge=1)
    """Frozen test split: the only one the benchmark reads."""


class Labelled(Section):
    """Images that people or models have labelled or described already; they join both tables under their own name."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the data set in the tables."""
    format: str
    """How the labels are written: the name of a module of `iqaflow.annotate.imports`, such as `coco` or `label_studio`."""
    path: str
    """The label file, or the folder that holds it."""
    images: str
    """Directory the label file's image names are relative to."""
    license: str = "unknown"
    """Licence kept with every image."""
    limit: int | None = Field(default=None, ge=1)
    """Use at most this many images, chosen by content hash; null uses all."""
    scale: tuple[float, float] | None = None
    """Worst and best score of a `scores` file, such as [1, 5], or [100, 0] where lower is better; null finds it out."""

    @model_validator(mode="after")
    def _scale(self) -> Labelled:
        if self.scale and self.format != SCORES:
            raise ValueError(f"source.labelled: {self.name} has a scale, which is for the format `scores`, not {self.format!r}")
        if self.scale and not (self.scale[0] != self.scale[1] and all(abs(end) < float("inf") for end in self.scale)):
            raise ValueError(f"source.labelled: {self.name} has the scale {list(self.scale)}; it needs two different numbers")
        return self


class Source(Section):
    kind: str = "packaged"
    """Where photographs come from: `packaged` (inside scikit-image and scikit-learn), `folder`, `download` (a catalogue of
    addresses and checksums) or `dvc` (a folder that `dvc import` or `dvc add` brought)."""
    path: str | None = None
    """Directory of images, searched recursively; needed by `folder` and `dvc`. For `download`: where to keep downloads, if not in
    `data/downloads`."""
    catalogue: str | None = None
    """What to download: `kadis700k`, `coco`, `bsds500`, `koniq10k`, or a YAML file of your own; needed by `download`."""
    masks: str | None = None
    """Given region masks of the photographs: a COCO panoptic JSON, or a directory of BSDS `.mat` files or PNG label maps."""
    labelled: tuple[Labelled, ...] = ()
    """Data sets with labels or texts of their own, beside the synthetic one."""
    scores: str | None = None
    """Opinion scores of the photographs of a `folder` or `dvc` source: a CSV file inside `path`, such as `scores.csv`. The
    photographs join the tables a second time, as they are, as the labelled data set `scores`."""
    scale: tuple[float, float] | None = None
    """Worst and best score of `scores`, such as [1, 5], or [100, 0] where lower is better; null finds it out."""
    limit: int | None = Field(default=None, ge=3)
    """Use at most this many photographs, chosen by content hash; null uses all."""
    license: str = "unknown"
    """Licence of photographs of a `folder` or `dvc` source that no `licenses.csv` or LICENSE beside them speaks of."""
    min_side_px: int = Field(default=96, ge=32)
    """Photographs with a shorter side are quarantined."""
    max_pixels: int = Field(default=60_000_000, ge=10_000)
    """Images that claim more pixels are quarantined before they are decoded."""
    weights: Splits = Splits(train=5, calibration=2, test=3)
    """Shares of photographs per split; splits never share a photograph."""

    @model_validator(mode="before")
    @classmethod
    def _scored(cls, tree: Any) -> Any:
        """`scores` is short for an entry of `labelled`."""
        if not isinstance(tree, dict) or not tree.get("scores") or tree.get("kind") not in ("folder", "dvc"):
            return tree
        path, others = str(tree.get("path") or ""), list(tree.get("labelled") or ())
        others = [
            entry for entry in others if not (isinstance(entry, dict) and entry.get("name") == entry.get("format") == SCORES)
        ]
        entry = {
            "name": SCORES,
            "format": SCORES,
            "path": f"{path.rstrip('/')}/{tree['scores']}",
            "images": path,
            "license": tree.get("license") or "unknown",
            "scale": tree.get("scale"),
        }
        return {**tree, "labelled": [*others, entry]}

    @model_validator(mode="after")
    def _path(self) -> Source:
        if self.kind in ("folder", "dvc") and not self.path:
            raise ValueError(f"source.path is missing: kind={self.kind} needs a directory of images")
        if self.kind == "download" and not self.catalogue:
            raise ValueError("source.catalogue is missing: kind=download needs a catalogue of addresses")
        if self.scores and self.kind not in ("folder", "dvc"):
            raise ValueError(f"source.scores speaks of a folder of photographs, not of kind={self.kind}: use source.labelled")
        names = [data_set.name for data_set in self.labelled]
        if "synthetic" in names or len(set(names)) < len(names):
            raise ValueError(f"source.labelled: the names {names} must differ from each other and from `synthetic`")
        return self


class Segmenter(Section):
    model: str | None = None
    """Local folder or hub id of a SAM or SAM 2 checkpoint; needed by `annotate.regions=sam`."""
    revision: str | None = None
    """Hub revision (40 hex digits) when `model` is a hub id."""
    points_per_side: int = Field(default=16, ge=1)
    """Prompt points across the image, each way."""
    predicted_iou: float = Field(default=0.8, ge=0.0, le=1.0)
    """Masks the model trusts less are dropped."""
    stability: float = Field(default=0.85, ge=0.0, le=1.0)
    """Masks that change more when their threshold moves are dropped."""
    overlap: float = Field(default=0.7, ge=0.0, le=1.0)
    """Of masks that overlap by more than this IoU, only the most trusted is kept."""


class Teacher(Section):
    kind: str = "none"
    """Model that writes texts: none, an OpenAI-compatible endpoint, or a local vision-language model."""
    url: str = "http://127.0.0.1:8000/v1"
    """Address of the endpoint, for `http`; its key comes from the environment variable IQAFLOW_TEACHER_KEY."""
    model: str | None = None
    """Model name at the endpoint, or local folder or hub id."""
    revision: str | None = None
    """Hub revision (40 hex digits) when `model` is a hub id."""
    rewrite: bool = False
    """Let the teacher rewrite detailed descriptions of synthetic images; kept only where they parse to the same truth."""
    concurrency: int = Field(default=8, ge=1)
    """Requests in flight."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Seconds before a request is given up."""
    retries: int = Field(default=3, ge=0)
    """Tries again after an error of the network or the server, with growing waits."""
    max_tokens: int = Field(default=400, ge=8)
    """Longest reply."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Sampling temperature; 0 is greedy."""


class Detector(Section):
    model: str | None = None
    """Local folder or hub id of a zero-shot detector (Grounding DINO class); needed to ground human descriptions."""
    revision: str | None = None
    """Hub revision (40 hex digits) when `model` is a hub id."""
    box_threshold: float = Field(default=0.25, ge=0.0, le=1.0)
    """Boxes the detector trusts less are dropped."""
    text_threshold: float = Field(default=0.2, ge=0.0, le=1.0)
    """Words the detector matches less are not part of a phrase."""
    merge_area: float = Field(default=0.256, ge=0.0, le=1.0)
    """Touching boxes smaller than this share of the image are merged (Ta, Grounding-IQA 3.3)."""
    merge_overlap: float = Field(default=0.95, ge=0.0, le=1.0)
    """Boxes covered by another by more than this are merged (To, Grounding-IQA 3.3)."""


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
    ordered: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of local images whose regions hold two distortions each, so that their order can be asked about."""
    feather_px: float = Field(default=0.0, ge=0.0)
    """Soft border of a distorted region, inside its mask; the mask stays exact."""
    regions: str = "superpixels"
    """How regions are found: by colour, from `source.masks`, or by `annotate.sam`."""
    segments: tuple[int, int] = (4, 9)
    """Number of superpixels per view, drawn per image."""
    area: tuple[float, float] = (0.06, 0.5)
    """A region's share of its view, least and most."""
    visible: float = Field(default=0.9, gt=0.0, le=1.0)
    """A region counts as distorted only if its full-reference score is at most this; subtler changes are drawn again."""
    shard_images: int = Field(default=100, ge=1)
    """Images per shard: the unit that is resumed."""
    sam: Segmenter = Segmenter()
    """Promptable segmenter that finds regions by itself."""
    teacher: Teacher = Teacher()
    """Model that writes or checks texts."""
    detector: Detector = Detector()
    """Model that finds what a phrase names."""


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
    vocabulary: Literal["base", "data"] = "base"
    """`data` gives a tiny base the words of the training texts as tokens; what it knew stays (used to make a base)."""
    tuning: Literal["full", "lora"] = "full"
    """Train all weights, or low-rank adapters on the language model that are merged at the end."""
    lora_rank: int = Field(default=16, ge=1)
    """Rank of the adapters."""
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Modules that get adapters."""
    frozen: tuple[Literal["vision", "projector", "language"], ...] = ()
    """Parts of the base that are not trained; adapters in them are frozen, too."""
    mixture: dict[str, float] = {}
    """Weight of each data set (`synthetic` and the names of `source.labelled`): how often its packs are drawn, whatever its size.
    Empty: every pack once an epoch."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of weights and activations."""
    zero_stage: int = Field(default=0, ge=0, le=3)
    """DeepSpeed ZeRO stage."""
    offload: bool = False
    """Keep optimizer states, under ZeRO-3 also weights, in main memory: slower, less GPU memory; needs ZeRO 1 to 3."""
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
    tokens: int | None = Field(default=None, ge=64)
    """Token budget of a micro-batch, padding included, in place of `micro_batch`: packs of like length, as many as fit."""
    questions: int = Field(default=8, ge=1)
    """Questions per pack, drawn per step."""
    lr: float = Field(default=1e-5, gt=0)
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
    """Point answers learn the region's distribution over cells, ratings what `ratings` says, instead of one word; for bases
    whose cells and rating words are single tokens."""
    ratings: Literal["word", "linear", "distribution"] = "linear"
    """What a score teaches of the five rating words: the nearest (Q-Align), the two nearest with the score as their mean, or,
    where people scored, the spread of their opinions about it (DeQA-Score)."""
    checkpoint_steps: int = Field(default=100, ge=1)
    """Steps between committed checkpoints."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Committed checkpoints kept."""
    evaluate_steps: int | None = Field(default=None, ge=1)
    """Steps between measurements of the loss on the calibration split; the best weights are the result. Null: the last ones."""
    evaluate_packs: int = Field(default=64, ge=1)
    """Packs of the calibration split that are measured, the first of the split."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many measurements without a better one; needs `evaluate_steps`."""
    min_pixels: int = Field(default=4_096, ge=256)
    """Smaller images are enlarged to this many pixels, aspect kept."""
    max_pixels: int = Field(default=65_536, ge=1_024)
    """Larger images are reduced to this many pixels, aspect kept."""

    @model_validator(mode="after")
    def _dense(self) -> Train:
        if self.vision_images and not self.dense:
            raise ValueError("train.vision_images needs train.dense > 0: the dense read-out is all it trains")
        if self.base == "scratch" and self.zero_stage == 3:
            raise ValueError("train.zero_stage=3 divides the weights of large models; a tiny one from scratch takes 0, 1 or 2")
        if self.patience and not self.evaluate_steps:
            raise ValueError("train.patience counts measurements: it needs train.evaluate_steps")
        if self.offload and not self.zero_stage:
            raise ValueError("train.offload needs train.zero_stage 1, 2 or 3")
        if any(weight <= 0 for weight in self.mixture.values()):
            raise ValueError("train.mixture: weights must be greater than 0; leave a data set out of source.labelled instead")
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
    hang_seconds: int = Field(default=300, ge=0)
    """A training rank that gives no sign of life, or gets no further in a step, for so long (or twice the slowest steps and a
    minute, if that is longer) is taken for hung: all ranks start anew from the last checkpoint. 0: wait for ever."""
    launcher: Literal["local", "torchrun", "deepspeed", "slurm"] = "local"
    """Who starts the training ranks."""
    nodes: int = Field(default=1, ge=1)
    """Hosts of a training by `torchrun` or `slurm`; they share the workspace folder."""
    rendezvous: str | None = None
    """Address host:port of the first host where those of `torchrun` meet; needed with more than one node."""
    hostfile: str | None = None
    """DeepSpeed hostfile (`host slots=8` a line); without it `deepspeed` starts the ranks of this machine."""
