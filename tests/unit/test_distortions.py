"""The 35 distortions: registry, contract, robustness, strength by level, and agreement with plain references."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data, filters

import iqaflow.distortions as distortions
from iqaflow.distortions import registry
from iqaflow.distortions.synthetic import blur, quantization

NAMES = distortions.names()
SHIFTED = {"compression_jpeg", "compression_jpeg_2000", "pixelate"}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.astronaut()[20:180, 140:300])


def awkward_images():
    noise = rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    ramp = np.tile(np.arange(47, dtype=np.uint8)[:, None, None], (1, 33, 3))
    two_tone = np.zeros((40, 37, 3), np.uint8)
    two_tone[10:20] = 255
    one_channel = np.zeros((33, 45, 3), np.uint8)
    one_channel[..., 0] = ramp[0, 0, 0] + np.arange(45, dtype=np.uint8) * 5
    flat = {f"flat {v}": np.full((32, 35, 3), v, np.uint8) for v in (0, 1, 128, 255)}
    two_colours = np.where(rng(5).random((32, 32, 1)) < 0.1, (255, 0, 3), (0, 254, 90)).astype(np.uint8)
    wide = rng(4).integers(0, 256, (33, 1000, 3), dtype=np.uint8)
    return {
        "tiny": noise, "grey ramp": ramp, "two tones": two_tone, "red only": one_channel, "two colours": two_colours,
        "wide": wide, **flat,
    }  # fmt: skip


def test_registry():
    categories = distortions.categories()
    assert len(NAMES) == 35 and sorted(set(NAMES)) == NAMES
    assert len(categories) == 12
    assert {name for c in categories.values() for name in c.functions} == set(NAMES)
    assert all(name in categories[distortions.category_of(name)].functions for name in NAMES)
    assert {c.id: len(c.functions) for c in categories.values()} == {
        "blur": 6, "noise": 6, "compression": 2, "brighten": 4, "darken": 4, "contrast_strengthen": 2,
        "contrast_weaken": 2, "saturate_strengthen": 2, "saturate_weaken": 2, "oversharpen": 1, "pixelate": 1,
        "quantization": 3,
    }  # fmt: skip
    assert {c.id for c in categories.values() if c.nr_min_level == 1} == {"blur", "noise", "compression", "pixelate"}
    assert distortions.phrase("quantization") == "color quantization"
    assert len({c.phrase for c in categories.values()}) == 12
    assert distortions.SEVERITIES[0] == "slight" and len(distortions.SEVERITIES) == 5


def test_allowed_pairs():
    pairs = distortions.allowed_pairs()
    assert len(pairs) == len(set(pairs)) == 78
    assert all(first != second for first, second in pairs)
    assert ("oversharpen", "brighten") in pairs and ("oversharpen", "darken") not in pairs
    assert ("blur", "pixelate") not in pairs and ("compression", "quantization") not in pairs


def grown(folder, code, **modules):
    """What Python code prints where `modules` are categories more, or the last line of its error."""
    (folder / "distortions").mkdir(parents=True)
    for module, text in modules.items():
        (folder / "distortions" / f"{module}.py").write_text(text)
    code = f"import numpy as np, iqaflow.distortions as d; {code}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "IQAFLOW_PLUGINS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.splitlines()[-1]


def test_one_new_file_is_one_new_category(tmp_path):
    fog = """
from iqaflow.distortions.registry import distortion

PHRASE, NR_MIN_LEVEL, FOLLOWED_BY = "fog", 1, ("noise",)


@distortion(levels=(0.1, 0.2, 0.3, 0.4, 0.5))
def fog_even(image, share, rng):
    return (image * (1 - share) + 255 * share).astype("uint8")
"""
    code = """
print(len(d.names()), d.category_of("fog_even"), d.phrase("fog"), ("fog", "noise") in d.allowed_pairs(), len(d.allowed_pairs()))
black = np.zeros((32, 32, 3), np.uint8)
print(*(np.unique(d.apply(black, "fog_even", level)) for level in (5, 1.5)))"""
    assert grown(tmp_path / "one", code, fog=fog) == "36 fog fog True 79\n[127] [38]"
    assert grown(tmp_path / "two", "d.names()", fog=fog, haze=fog).endswith("'fog_even' is defined twice: in fog and haze")
    broken = grown(tmp_path / "broken", "d.names()", fog=fog.replace('"noise"', '"nois"'))
    assert "'fog' is followed by unknown ['nois']" in broken


def test_a_second_function_of_the_same_name_is_an_error():
    def pixelate(image, scale, rng):
        return image

    with pytest.raises(ValueError, match="'pixelate' is defined twice: in pixelate and test_distortions"):
        registry.distortion(levels=(1, 2, 3, 4, 5))(pixelate)


def test_import_is_light():
    code = "import sys, iqaflow.distortions; sys.exit(any(m in sys.modules for m in ('torch', 'cv2', 'skimage', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_any_image_any_level(name):
    for what, image in awkward_images().items():
        before = image.copy()
        image.flags.writeable = False
        for level in (1, 3.25, 5) if what == "wide" else (1, 1.5, 2, 3, 3.25, 4, 5):
            for offset in ((0, 0), (3, 5)):
                out = distortions.apply(image, name, level, rng(), offset=offset)
                assert out.shape == image.shape and out.dtype == np.uint8, (what, level)
                assert out.flags.writeable and not np.shares_memory(out, image), (what, level)
        assert np.array_equal(image, before), what


@st.composite
def pictures(draw):
    """Any picture: few or many colours, flat parts and edges, from 32 px on."""
    height, width = draw(st.integers(32, 70)), draw(st.integers(32, 70))
    colours = np.array(draw(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=6)), np.uint8)
    cell = draw(st.sampled_from([1, 3, 40]))
    drawn = rng(draw(st.integers(0, 9)))
    labels = drawn.integers(0, len(colours), (height // cell + 1, width // cell + 1))
    image = colours[np.kron(labels, np.ones((cell, cell), int))[:height, :width]]
    noise = drawn.normal(0, draw(st.sampled_from([0, 1, 60])), image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(pictures(), st.sampled_from(NAMES), st.floats(1, 5), st.integers(0, 31), st.floats(0, 40), st.integers(0, 3))
def test_any_picture_any_mask(image, name, level, offset, feather, holes):
    offset = (offset, 31 - offset)
    mask = rng(holes).random(image.shape[:2]) < (0, 0.03, 0.6, 1.1)[holes]
    mask[5:20, : 3 * holes] = True
    whole = distortions.apply(image, name, level, rng(), offset=offset)
    out = distortions.apply_in_mask(image, mask, name, level, rng(), feather, offset=offset)
    hard = distortions.apply_in_mask(image, mask, name, level, rng(), offset=offset)
    assert whole.shape == out.shape == image.shape and whole.dtype == out.dtype == np.uint8
    assert np.array_equal(out[~mask], image[~mask]) and np.array_equal(hard[~mask], image[~mask])
    assert np.array_equal(hard[mask], whole[mask])
    assert np.all(np.minimum(image, whole) <= out) and np.all(out <= np.maximum(image, whole))  # a blend of the two


def test_twelve_megapixels_in_bounded_memory():
    # VmHWM: ru_maxrss of a child starts at what its parent held when it was started
    code = """
import numpy as np
from skimage import data
from iqaflow import distortions
image = np.tile(data.astronaut(), (6, 8, 1))[:3000, :4000].copy()
rng = np.random.default_rng(0)
for name in ("blur_zoom", "blur_jitter", "noise_spatially_correlated", "noise_poisson", "quantization_median"):
    assert distortions.apply(image, name, 5, rng).shape == image.shape
mask = image[..., 0] > 100
assert distortions.apply_in_mask(image, mask, "brightness_darken_shift_RGB", 3, rng, 4).shape == image.shape
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1.2 * 1024**2  # KiB


@pytest.mark.parametrize("name", NAMES)
def test_strength_grows_with_level(name, photo):
    def strength(level):
        return np.abs(distortions.apply(photo, name, level, rng()).astype(int) - photo).mean()

    levels = [strength(level) for level in (1, 2, 3, 4, 5)]
    assert levels[0] > 0.5 and np.all(np.diff(levels) > 0), levels
    slack = 0.15 if name == "quantization_otsu" else 0.05  # published values start at the lowest of a class: no even steps
    assert levels[0] * (1 - slack) <= strength(1.5) <= levels[1] * (1 + slack)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes(name, photo):
    first, again, other = (distortions.apply(photo, name, 2, rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    random = name.startswith("noise") or name in ("blur_motion", "blur_glass", "blur_jitter")
    assert random != np.array_equal(first, other)


def test_views_and_numpy_levels_are_accepted(photo):
    view = photo[::-1, ::2]
    out = distortions.apply(view, "oversharpen", np.int64(2))
    assert np.array_equal(out, distortions.apply(view.copy(), "oversharpen", 2.0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("feather", [0.0, 6.0])
def test_mask_keeps_the_outside(name, feather, photo):
    mask = np.zeros(photo.shape[:2], bool)
    mask[30:90, 40:] = True
    out = distortions.apply_in_mask(photo, mask, name, 4, rng(), feather)
    whole = distortions.apply(photo, name, 4, rng())
    assert np.array_equal(out[~mask], photo[~mask])
    core = np.zeros_like(mask)
    core[38:82, 48:] = True  # deeper than the feather; the image's own border is no edge of the mask
    assert np.array_equal(out[core], whole[core])
    assert feather or np.array_equal(out[mask], whole[mask])


def test_feather_rises_inside_the_mask(photo):
    mask = np.zeros(photo.shape[:2], bool)
    mask[50:110, 50:110] = True
    black = np.zeros_like(photo)
    out = distortions.apply_in_mask(black, mask, "brightness_brighten_shift_RGB", 5, feather=8)
    row = out[80, 50:60, 0].astype(int)
    assert out[80, 49, 0] == 0 < row[0] and np.all(np.diff(row)[:8] > 0) and row[8] == row[9] == out.max()


def test_empty_and_full_masks(photo):
    empty = np.zeros(photo.shape[:2], bool)
    out = distortions.apply_in_mask(photo, empty, "pixelate", 3, feather=4)
    assert np.array_equal(out, photo) and not np.shares_memory(out, photo)
    out = distortions.apply_in_mask(photo, ~empty, "pixelate", 3, feather=4)
    assert np.array_equal(out, distortions.apply(photo, "pixelate", 3))


@pytest.mark.parametrize("name", NAMES)
def test_offset_moves_only_grids(name, photo):
    still, moved = (distortions.apply(photo, name, 4, rng(), offset=offset) for offset in ((0, 0), (3, 5)))
    assert np.array_equal(still, moved) != (name in SHIFTED)


def test_offset_moves_the_pixel_grid(photo):
    out = distortions.apply(photo[:158], "pixelate", 5, offset=(2, 0)).astype(int)  # 160 rows, cells of 5
    edges = np.flatnonzero(np.abs(np.diff(out, axis=0)).sum(axis=(1, 2))) + 1
    assert set((edges + 2) % 5) == {0}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image": np.zeros((40, 40, 3), np.float32)}, "image is float32 .*, expected a uint8 array of shape"),
        ({"image": np.zeros((40, 40), np.uint8)}, r"image is uint8 \(40, 40\), expected a uint8 array"),
        ({"image": "photo.png"}, "image is str, expected a uint8 array"),
        ({"image": np.zeros((31, 40, 3), np.uint8)}, "image is 40 x 31 px, expected at least 32 per side"),
        ({"name": "blur_box"}, "unknown distortion 'blur_box', expected one of blur_gaussian"),
        ({"level": 0}, "level is 0, expected a number from 1 to 5"),
        ({"level": 5.01}, "level is 5.01, expected"),
        ({"level": float("nan")}, "level is nan, expected"),
        ({"level": True}, "level is True, expected"),
        ({"level": "3"}, "level is '3', expected"),
        ({"rng": 7}, "rng is a int, expected a numpy.random.Generator"),
        ({"offset": (-1, 0)}, r"offset is \(-1, 0\), expected two whole numbers"),
        ({"offset": (0, 40)}, "offset is"),
        ({"offset": None}, "offset is None"),
        ({"mask": np.zeros((40, 40), np.uint8)}, r"mask is uint8 \(40, 40\), expected a bool array"),
        ({"mask": np.zeros((40, 41), bool)}, "mask is bool"),
        ({"mask": None}, "mask is NoneType"),
        ({"feather": -1}, "feather is -1, expected a number of pixels >= 0"),
        ({"feather": float("nan")}, "feather is nan"),
    ],
)
def test_errors_say_what_and_what_was_expected(change, sentence):
    image = np.zeros((40, 40, 3), np.uint8)
    arguments = {"image": image, "mask": image[..., 0] > 0, "name": "pixelate", "level": 3} | change
    with pytest.raises(ValueError, match=sentence):
        distortions.apply_in_mask(**arguments)


def test_unknown_category():
    with pytest.raises(ValueError, match="unknown category 'fog', expected one of blur, brighten"):
        distortions.phrase("fog")


def test_gaussian_agrees_with_scikit_image(photo):
    for sigma in (1, 3, 5):
        expected = filters.gaussian(photo / 255, sigma=sigma, channel_axis=-1) * 255
        assert np.abs(blur.blur_gaussian(photo, sigma, None) - expected).max() < 1.6


def test_shuffle_agrees_with_a_sequential_scan(photo):
    image = np.arange(40 * 36 * 3, dtype=np.int64).reshape(40, 36, 3)
    for shift in (1, 2, 5):
        box = (2, 40 - 2 * shift, 36 - 2 * shift)
        moves = np.floor(rng(1).random(box, dtype=np.float32) * (2 * shift) - shift).astype(int)
        expected = image.copy()
        for y in reversed(range(shift + 1, 40 - shift + 1)):
            for x in reversed(range(shift + 1, 36 - shift + 1)):
                dy, dx = moves[:, y - shift - 1, x - shift - 1]
                expected[y, x] = expected[y + dy, x + dx]
        assert np.array_equal(blur.blur_jitter(image, shift, rng(1)), expected)


def test_motion_agrees_with_a_sum_of_shifts(photo):
    radius, sigma = 10, 5
    angle = np.deg2rad(rng(5).uniform(-90, 90))
    padded = np.pad(photo.astype(float), ((21, 21), (21, 21), (0, 0)), mode="edge")
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    expected = np.zeros(photo.shape)
    for step, weight in enumerate(weights / weights.sum()):
        dy, dx = (int(np.ceil(step * part - 0.5)) for part in (np.sin(angle), np.cos(angle)))
        expected += weight * padded[21 + dy : 21 + dy + photo.shape[0], 21 + dx : 21 + dx + photo.shape[1]]
    assert np.abs(blur.blur_motion(photo, (radius, sigma), rng(5)) - expected).max() < 0.6


def test_zoom_agrees_with_scipy(photo):
    from scipy.ndimage import zoom

    image = photo[:, :131] / 255
    layers = [image, image]
    for factor in (1.02, 1.04, 1.06):
        crop = [int(np.ceil(side / factor)) for side in image.shape[:2]]
        top, left = ((side - c) // 2 for side, c in zip(image.shape, crop, strict=False))
        layer = zoom(image[top : top + crop[0], left : left + crop[1]], (factor, factor, 1), order=1)
        layers.append(layer[: image.shape[0], : image.shape[1]])
    out = blur.blur_zoom(np.ascontiguousarray(photo[:, :131]), 1.06, None)
    assert np.abs(out - np.mean(layers, axis=0) * 255).max() < 3


@pytest.mark.parametrize("classes", [3, 5])
def test_otsu_agrees_with_scikit_image(classes, photo):
    channel = photo[..., 1]
    thresholds = filters.threshold_multiotsu(channel.astype(np.float32), classes=classes, nbins=30)
    low, high = int(channel.min()), int(channel.max())
    expected = np.digitize(channel, thresholds) * (high - low) / classes + low
    out = quantization.quantization_otsu(photo, classes, None)[..., 1]
    assert np.abs(out - expected).max() <= 0.5


@pytest.mark.parametrize("colours", [20, 15, 10, 6, 3])
def test_median_cut_agrees_with_pillow(colours, photo):
    ties = rng(2).integers(0, 9, photo.shape, dtype=np.uint8) * 20
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 40, 3))  # every cut is a tie
    for image in (photo, ties, ramp, *awkward_images().values()):
        out = quantization.quantization_median(image, colours, None)
        for channel in range(3):
            plain = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            cut = plain.quantize(colours, Image.Quantize.MEDIANCUT).convert("L")
            assert np.array_equal(out[..., channel], np.asarray(cut))


@pytest.mark.parametrize(("photons", "level"), [(80, 1), (15, 5)])
def test_poisson_counts_follow_their_law(photons, level):
    from scipy.stats import chisquare, poisson

    for grey in (0, 3, 130, 255):
        flat = np.full((300, 300, 3), grey, np.uint8)
        out = distortions.apply(flat, "noise_poisson", level, rng(grey))
        counts = np.bincount(np.rint(out * (photons / 255)).astype(int).ravel(), minlength=photons + 1)
        expected = poisson.pmf(np.arange(photons + 1), grey * photons / 255)
        expected[photons] += 1 - expected.sum()  # more photons than full intensity has: saturated
        expected *= flat.size
        common = expected > 20
        rest = counts[~common].sum(), expected[~common].sum()
        assert abs(rest[0] - rest[1]) < 5 * np.sqrt(rest[1]) + 5
        if common.sum() > 1:
            scaled = expected[common] * counts[common].sum() / expected[common].sum()
            assert chisquare(counts[common], scaled).pvalue > 1e-3


def test_quantization_leaves_the_number_of_values_it_says(photo):
    for level, most in zip((1, 3, 5), (15, 8, 3), strict=True):
        out = distortions.apply(photo, "quantization_otsu", level)
        assert all(len(np.unique(out[..., channel])) <= most for channel in range(3))
    assert len(np.unique(distortions.apply(photo, "quantization_hist", 5))) <= 4


def test_brightness_keeps_hue(photo):
    import cv2

    colours = np.full((32, 32, 3), (120, 60, 30), np.uint8)
    for name in ("brightness_brighten_gamma_HSV", "brightness_darken_shift_HSV"):
        out = cv2.cvtColor(distortions.apply(colours, name, 2), cv2.COLOR_RGB2HSV)[0, 0].astype(int)
        assert np.abs(out - cv2.cvtColor(colours, cv2.COLOR_RGB2HSV)[0, 0])[:2].max() <= 3
