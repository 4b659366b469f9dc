"""The commands assess, compare, score and distort: files in, JSON, tables and pictures out.

A bad image is one sentence on stderr and exit code 2 at the end; the other images of a batch are still done.
"""

from __future__ import annotations

import csv as csv_module
import difflib
import io
import json as json_module
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.core.errors import BAD_INPUT, InputError
from iqaflow.core.files import write_bytes, write_text
from iqaflow.core.security.escaping import cell
from iqaflow.data.images import SUFFIXES, ImageError, decode, encode_png

if TYPE_CHECKING:
    import numpy as np

    from iqaflow.core.config import Config
    from iqaflow.core.workspace import Workspace
    from iqaflow.infer.assessor import Assessor
    from iqaflow.infer.schema import Assessment

BATCH, TOGETHER = 16, 8  # images scored, and assessed, at once
log = logging.getLogger(__name__)


def assess_command(
    config: Config,
    workspace: Workspace,
    *,
    images: Sequence[Path],
    json: bool,
    jsonl: Path | None,
    overlay: Path | None,
    reference: Path | None,
    region: tuple[float, ...] | None,
    mask: Path | None,
    point: tuple[float, ...] | None,
    phrase: str | None,
    question: str | None,
    model: str,
) -> int:
    """`iqaflow assess`: one assessment per image to stdout (a summary, or JSON), to JSON lines and to overlays."""
    from iqaflow.infer import load
    from iqaflow.infer.json_lines import writing

    paths = list(_images(images))
    if not paths:
        raise InputError(f"No image found in {', '.join(map(str, images))}.")
    for option, text in (("--phrase", phrase), ("--question", question)):
        if text is not None and not text.strip():
            raise InputError(f"{option} is empty: say something, or leave it out.")
    if overlay:
        _make_folder(overlay)
    where = {"region": region, "mask": _mask(mask), "point": point, "phrase": phrase}
    special = reference is not None or question is not None or any(value is not None for value in where.values())
    assessor = load(model)
    failed = 0
    kept: list[Assessment] = []
    with writing(jsonl, assessor.model, () if special else paths) if jsonl else nullcontext() as lines:
        waiting = [path for path in paths if not (lines and lines.has(path))]
        if len(waiting) < len(paths):
            log.info("assess: %d of %d images were done before.", len(paths) - len(waiting), len(paths))
        for path, result in _assessed(assessor, waiting, special, reference=reference, question=question, **where):
            if isinstance(result, InputError):
                log.error("%s", str(result) if str(path) in str(result) else f"{path}: {result}")
                failed += 1
                continue
            if overlay:
                _draw(overlay, path, result)
            if lines:
                lines.add(result)
            elif json:
                kept.append(result)
            else:
                print(_summary(result))
    if json and not jsonl:
        print(json_module.dumps(kept[0] if len(paths) == 1 and kept else kept, indent=1))
    return BAD_INPUT if failed else 0


def _assessed(
    assessor: Assessor, paths: Sequence[Path], special: bool, **options: Any
) -> Iterator[tuple[Path, Assessment | InputError]]:
    """Each image with its assessment, or with the InputError that says why there is none: in batches, or, where an option is
    about one image, one by one.
    """
    from iqaflow.core.progress import progress

    size = 1 if special else TOGETHER
    batches = [paths[start : start + size] for start in range(0, len(paths), size)]
    for batch in progress(batches, len(batches), "assess") if len(batches) > 1 else batches:
        if not special:
            yield from zip(batch, assessor.assess_all(batch), strict=True)
            continue
        try:
            yield batch[0], assessor.assess(batch[0], **options)
        except InputError as error:
            yield batch[0], error


def _make_folder(folder: Path) -> None:
    """Before any image is looked at: hours of work must not end in a folder that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--overlay {folder} cannot be made a folder: {error.strerror}; give another name.") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"--overlay {folder} cannot be written; give another folder.")


def _draw(folder: Path, path: Path, result: Assessment) -> None:
    from iqaflow.draw.overlay import draw
    from iqaflow.infer.picture import MAX_PIXELS

    drawn = draw(decode(path, MAX_PIXELS), dict(result))  # whatever could be assessed can be drawn
    write_bytes(folder / f"{path.stem}-{result['image']['sha256'][:8]}.png", encode_png(drawn))


def compare_command(
    config: Config, workspace: Workspace, *, a: Path, b: Path, reference: Path | None, json: bool, model: str
) -> int:
    """`iqaflow compare`: which image is better and why."""
    from iqaflow.infer import load

    result = load(model).compare(a, b, reference)
    if json:
        print(json_module.dumps(result, indent=1))
    else:
        file = {"Image A": f" ({a})", "Image B": f" ({b})"}.get(result["better"], "")
        print(f"{result['better']}{file}, confidence {result['confidence']:.2f}\n{result['reason']}")
    return 0


def score_command(config: Config, workspace: Workspace, *, folder: Path, csv: Path | None, model: str) -> int:
    """`iqaflow score`: `path,score,level,confidence` of every image, in batches; paths as `escaping.cell` writes them."""
    from iqaflow.core.progress import progress
    from iqaflow.infer import load
    from iqaflow.infer.picture import opened

    paths = list(_images([folder]))
    if not paths:
        raise InputError(f"No image found in {folder}.")
    if csv and csv.is_dir():
        raise InputError(f"{csv} is a folder: give a file to write, such as {csv / 'scores.csv'}.")
    assessor = load(model)
    out = io.StringIO()
    writer = csv_module.writer(out, lineterminator="\n")
    writer.writerow(["path", "score", "level", "confidence"])
    failed = 0
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    for batch in progress(batches, len(batches), "score"):
        readable, pixels = [], []
        for path in batch:
            try:
                pixels.append(opened(path, assessor.max_pixels).pixels)
                readable.append(path)
            except InputError as error:
                log.error("%s", error)
                failed += 1
        if readable:
            for path, result in zip(readable, assessor.score(pixels), strict=True):
                writer.writerow([cell(str(path)), result["value"], result["level"], result["confidence"]])
    if csv:
        try:
            write_text(csv, out.getvalue())
        except (PermissionError, FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            raise InputError(f"{csv} cannot be written: {error.strerror}.") from None
    else:
        print(out.getvalue(), end="")
    return BAD_INPUT if failed else 0


def distort_command(*, source: Path | None, target: Path | None, name: str, level: int, mask: Path | None, seed: int) -> int:
    """`iqaflow distort`: one distortion, one image, PNG out; the name `list` prints every name with its category."""
    import numpy as np

    from iqaflow import distortions

    names = distortions.names()
    if name == "list":
        print("\n".join(f"{distortion:<32}{distortions.category_of(distortion)}" for distortion in names))
        return 0
    if name not in names:
        close = difflib.get_close_matches(name, names, 3, 0.4)
        hint = f" (near: {', '.join(close)})" if close else ""
        raise InputError(f"There is no distortion {name!r}{hint}; `iqaflow distort --name list` prints all.")
    if not 1 <= level <= len(distortions.SEVERITIES):
        raise InputError(f"--level is {level}, it must be 1 ({distortions.SEVERITIES[0]}) to 5 ({distortions.SEVERITIES[-1]}).")
    if seed < 0:
        raise InputError(f"--seed is {seed}, it must be 0 or more.")
    source, target = _distort_files(source, target)
    try:
        pixels = decode(source, min_side=distortions.MIN_SIDE)
    except ImageError as error:
        raise InputError(f"The image cannot be used: {error}.") from None
    rng = np.random.default_rng(seed)
    where = _mask(mask)
    if where is None:
        distorted = distortions.apply(pixels, name, level, rng)
    else:
        if where.shape != pixels.shape[:2]:
            sizes = [f"{path} is {shape[1]}x{shape[0]}" for path, shape in ((mask, where.shape), (source, pixels.shape))]
            raise InputError(f"The mask must be as large as the image: {sizes[0]}, {sizes[1]}.")
        if not where.any():
            raise InputError(f"The mask {mask} has no white pixel, so nothing would change.")
        distorted = distortions.apply_in_mask(pixels, where, name, level, rng)
    try:
        write_bytes(target, encode_png(distorted))
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{target} cannot be written: {error.strerror}.") from None
    return 0


def _distort_files(source: Path | None, target: Path | None) -> tuple[Path, Path]:
    """The two files of `distort`, refused before any work where the result would be lost or overwrite its source."""
    if source is None or target is None:
        raise InputError("`iqaflow distort` needs two files: IN, an image, and OUT, a PNG.")
    if source.is_dir():
        raise InputError(f"{source} is a folder; give one image file.")
    if target.is_dir():
        raise InputError(f"{target} is a folder; give the file to write, such as {target / (source.stem + '.png')}.")
    if target.suffix.lower() != ".png":
        raise InputError(f"{target} must end in .png: the result is written without loss.")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the image itself; give another name, so that the original stays.")
    return source, target


def _images(given: Sequence[Path]) -> Iterator[Path]:
    """The files as given, and every image file inside given folders."""
    for path in given:
        if path.is_dir():
            yield from (file for file in sorted(path.rglob("*")) if file.is_file() and file.suffix.lower() in SUFFIXES)
        else:
            yield path


def _mask(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    try:
        white: np.ndarray = decode(path).mean(2) > 127
    except ImageError as error:
        raise InputError(f"The mask cannot be used: {error}.") from None
    return white


def _summary(result: Assessment) -> str:
    flaws = ", ".join(f"{flaw['severity']} {flaw['phrase']} ({flaw['confidence']:.2f})" for flaw in result["distortions"])
    score = result["score"]
    lines = [f"{result['image']['path']}: {score['level']} ({score['value']:.2f}), {flaws or 'clean'}"]
    for region in result["regions"]:
        what = ", ".join(f"{flaw['severity']} {flaw['phrase']}" for flaw in region["distortions"]) or "nothing named"
        box = ", ".join(f"{edge:.0f}" for edge in region["box_xyxy"])
        lines.append(f"  {region['label']} [{box}]: {what}, {region['score']['level']} (confidence {region['confidence']:.2f})")
    if "answer" in result:
        lines.append(f"  {result['answer']['question']} {result['answer']['text']}")
    return "\n".join(lines)
