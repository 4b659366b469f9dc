"""The 35 distortions: milliseconds and memory per function, and agreement with the published code.

    python perf/distortions.py [--side 512]        # ms per function, one core, mean over the five levels
    python perf/distortions.py --memory            # peak MiB at 4000 x 3000, level 5
    python perf/distortions.py --peer DepictQA     # beside the authors' functions, in a clone of XPixelGroup/DepictQA
    python perf/distortions.py --peer DepictQA --write tests/numeric/distortions.json   # reference values of the test

The authors' shuffles need numba; without it they run as plain Python and their time is left out.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import itertools
import json
import sys
import time
import types
import warnings
from pathlib import Path

import cv2
import numpy as np
import skimage

from iqaflow import distortions
from iqaflow.distortions import registry

RANDOM = tuple(n for n in distortions.names() if n.startswith("noise_") or n in ("blur_glass", "blur_jitter"))
EXACT = tuple(n for n in distortions.names() if n not in RANDOM)  # motion blur at a given angle
CROPS = {"astronaut": (11, 60, 255, 333), "coffee": (100, 150, 97, 131), "chelsea": (40, 200, 131, 97)}  # odd sizes
ANGLE = -33.7  # degrees, of motion blur
EDGES = (0.005, 0.125, 0.25, 0.5, 0.8)  # of frequency bands, cycles per pixel
SAMPLES = 40  # pixels of a photograph whose values are kept


class Angle:
    """Stands for a generator where the only draw is the angle of motion blur."""

    def uniform(self, low: float, high: float) -> float:
        return ANGLE


def photographs() -> dict[str, np.ndarray]:
    """Crops of three packaged photographs, by name."""
    return {
        name: getattr(skimage.data, name)()[top : top + height, left : left + width].copy()
        for name, (top, left, height, width) in CROPS.items()
    }


def sampled(image: np.ndarray) -> np.ndarray:
    """The pixels kept of an image: evenly spread in scan order (uint8, SAMPLES x 3)."""
    pixels = image.reshape(-1, 3)
    return pixels[np.linspace(0, len(pixels) - 1, SAMPLES).astype(int)]


def statistics(image: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Of a change: its mean and variance per channel, and its power in four frequency bands (10 numbers)."""
    change = image.astype(float) - original
    power = (np.abs(np.fft.fft2(change, axes=(0, 1))) ** 2).mean(2) / change[..., 0].size
    rows, columns = (np.fft.fftfreq(side) for side in change.shape[:2])
    frequency = np.hypot(rows[:, None], columns)
    bands = [power[(frequency >= a) & (frequency < b)].mean() for a, b in itertools.pairwise(EDGES)]
    return np.concatenate([change.mean((0, 1)), change.var((0, 1)), bands])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Decibels between two uint8 arrays; 99 where they are equal."""
    error = np.mean((a.astype(float) - b) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def ours(image: np.ndarray, name: str, level: int, rng: np.random.Generator) -> np.ndarray:
    """Our result; motion blur at ANGLE."""
    if name != "blur_motion":
        return distortions.apply(image, name, level, rng)
    function = registry.load()[1][name]
    return function.run(image, function.value(level), Angle())


class Peer:
    """The authors' functions, out of a folder that holds their repository."""

    def __init__(self, clone: Path):
        self.compiled = importlib.util.find_spec("numba") is not None
        if not self.compiled:
            stand_in = types.ModuleType("numba")
            stand_in.njit = lambda *_, **__: lambda function: function
            sys.modules["numba"] = stand_in
        sys.path.insert(0, str(clone / "build_datasets"))
        self.module = importlib.import_module("x_distortion")
        np.random.seed(0)

    def __call__(self, image: np.ndarray, name: str, level: int) -> np.ndarray:
        draw = np.random.uniform
        if name == "blur_motion":
            np.random.uniform = Angle().uniform
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.module.add_distortion(image.copy(), level, name.replace("shift", "shfit"))
        finally:
            np.random.uniform = draw


def milliseconds(function, image: np.ndarray, name: str, repeats: int) -> float:
    """Mean over the five levels of the median time."""
    times = np.zeros((5, repeats))
    for level in range(5):
        for turn in range(repeats):
            begun = time.perf_counter()
            function(image, name, level + 1)
            times[level, turn] = time.perf_counter() - begun
    return 1000 * float(np.median(times, axis=1).mean())


def timing(side: int, repeats: int, peer: Peer | None) -> None:
    """Print milliseconds per function, ours and, where given, the authors'."""
    image = cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(0)
    theirs_head = " authors' ms | times |" if peer else ""
    print(f"| function | ms at {side}x{side} |{theirs_head}\n|---|---|{'---|---|' if peer else ''}")
    means: dict[str, list[tuple[float, float]]] = {}
    for name in distortions.names():
        distortions.apply(image, name, 3, rng)  # imports and caches
        own = milliseconds(lambda *of: distortions.apply(*of, rng), image, name, repeats)
        row, other = f"| {name} | {own:.2f} |", 0.0
        if peer:
            plain = not peer.compiled and name in ("blur_glass", "blur_jitter")
            other = np.nan if plain else milliseconds(peer, image, name, 1 if name == "quantization_otsu" else 3)
            row += " needs numba | |" if plain else f" {other:.1f} | {other / own:.1f} |"
        means.setdefault(distortions.category_of(name), []).append((own, other))
        print(row, flush=True)
    mean, other = np.mean([np.nanmean(of, axis=0) for of in means.values()], axis=0)
    row = f"| **mean, categories uniform** | **{mean:.2f}** ({1000 / mean:.0f} images/s) |"
    print(row + (f" {other:.1f} ({1000 / other:.0f} images/s) | {other / mean:.1f} |" if peer else ""))


def memory() -> None:
    """Print the peak resident MiB of the process while a function runs (Linux)."""
    image = np.tile(skimage.data.astronaut(), (6, 8, 1))[:3000, :4000].copy()
    print("| function | peak MiB at 4000x3000 |\n|---|---|")
    for name in distortions.names():
        Path("/proc/self/clear_refs").write_text("5")
        distortions.apply(image, name, 5, np.random.default_rng(0))
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(f"| {name} | {int(peak.split()[1]) / 1024:.0f} |", flush=True)


def agreement(peer: Peer, write: Path | None) -> None:
    """Print how near ours is to the authors' on three photographs; keep their values where `write` says."""
    photos, rng = photographs(), np.random.default_rng(0)
    reference: dict[str, dict] = {"pixels": {name: {} for name in EXACT}, "statistics": {}}
    print("| function | lowest PSNR of three photographs, dB, levels 1 to 5 |\n|---|---|")
    for name in EXACT:
        lowest = np.full(5, np.inf)
        for photo, image in photos.items():
            made = [peer(image, name, level) for level in range(1, 6)]
            lowest = np.minimum(lowest, [psnr(ours(image, name, level, rng), m) for level, m in enumerate(made, 1)])
            reference["pixels"][name][photo] = [base64.b64encode(sampled(m).tobytes()).decode() for m in made]
        print(f"| {name} | {', '.join(f'{value:.1f}' for value in lowest)} |", flush=True)
    image = photos["astronaut"]
    print("| function | level | mean, variance, spectrum: ours less, over, over the authors' |\n|---|---|---|")
    for name in RANDOM:
        turns = 6 if name in ("blur_glass", "blur_jitter") else 20
        reference["statistics"][name] = []
        for level in range(1, 6):
            theirs = np.mean([statistics(peer(image, name, level), image) for _ in range(turns)], axis=0)
            own = np.mean([statistics(ours(image, name, level, rng), image) for _ in range(turns)], axis=0)
            reference["statistics"][name].append([float(f"{value:.5g}") for value in theirs])
            less, over = own[:3] - theirs[:3], own[3:] / theirs[3:]
            print(f"| {name} | {level} | {np.round(less, 2)} {np.round(over[:3], 3)} {np.round(over[3:], 3)} |", flush=True)
    if write:
        write.write_text(json.dumps(reference, indent=0) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="a clone of XPixelGroup/DepictQA")
    parser.add_argument("--write", type=Path, metavar="JSON", help="keep the authors' values")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    if chosen.memory:
        memory()
        return
    peer = Peer(chosen.peer) if chosen.peer else None
    if peer:
        agreement(peer, chosen.write)
    timing(chosen.side, chosen.repeats, peer)


if __name__ == "__main__":
    main()
