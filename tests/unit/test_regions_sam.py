"""Segment Anything on its own: real SAM and SAM 2 classes of toy size, loaded from disk; the steps around them by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from iqaflow import regions
from iqaflow.core import config
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Photograph
from iqaflow.model import promptable
from iqaflow.regions import Window, proposals, sam
from tests.toy_sam import SIDE, sam2_model, sam2_video_model, sam_model


@pytest.fixture(scope="module", params=[sam_model, sam2_model, sam2_video_model])
def checkpoint(request, tmp_path_factory):
    """A folder with random weights. Random masks are flat, so the decoder is made bolder, and its trust lies near 0.9."""
    import torch

    torch.manual_seed(3)
    model = request.param()
    with torch.no_grad():
        for name, value in model.mask_decoder.named_parameters():
            if ("hypernetworks" in name or "upscale_conv" in name) and name.endswith("weight"):
                value *= 30
        head = model.mask_decoder.iou_prediction_head
        head.proj_out.bias += 0.9
    folder = tmp_path_factory.mktemp(request.param.__name__)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def picture():
    import skimage

    return skimage.data.astronaut()[:300:2, :450:2]  # 150x225


def chosen(folder, *more):
    return config.load(
        overrides=(
            "annotate.regions=sam",
            f"annotate.sam.model={folder}",
            "annotate.sam.points_per_side=5",
            "annotate.sam.predicted_iou=0.2",
            "annotate.sam.stability=0.3",
            *more,
        )
    )


def photo(sha="ab" * 32):
    return Photograph(source_id="a", sha256=sha, origin="a.png", license="x", width=225, height=150, phash="0" * 16)


def test_finds_segments_and_keeps_them(checkpoint, picture, tmp_path, monkeypatch):
    workspace, options = Workspace(tmp_path), chosen(checkpoint)
    found = regions.of_photograph(photo(), picture, options, workspace)
    assert found.labels.shape == picture.shape[:2] and len(np.unique(found.labels)) > 1
    assert found.names == (None,) * int(found.labels.max())
    window = Window(20, 30, 100, 120, (50, 60), mirrored=True)
    view = window.pixels(picture)
    in_view = regions.of_view(view, window, found, options.annotate.model_copy(update={"area": (0.0, 1.0)}), None)
    assert in_view and all(region.label.endswith("region") for region in in_view)
    assert sum(region.mask.astype(int) for region in in_view).max() == 1

    [kept] = (workspace.state / "regions" / "sam").rglob("*.npz")
    with monkeypatch.context() as patch:  # kept segments need no model
        patch.setattr(promptable, "see", lambda *_: pytest.fail("asked again"))
        again = regions.of_photograph(photo(), picture, options, workspace)
    assert np.array_equal(again.labels, found.labels)
    for damaged in (kept.read_bytes()[:-30], b"", b"PK" + bytes(200)):
        kept.write_bytes(damaged)
        assert np.array_equal(regions.of_photograph(photo(), picture, options, workspace).labels, found.labels)
    with np.load(kept, allow_pickle=False) as file:
        assert file["labels"].shape == (150, 225)
    np.savez(kept, labels=np.array([{"no": "pickle"}], dtype=object))
    assert np.array_equal(regions.of_photograph(photo(), picture, options, workspace).labels, found.labels)


def test_other_photographs_options_and_weights_are_found_anew(checkpoint, picture, tmp_path):
    workspace = Workspace(tmp_path)
    options = chosen(checkpoint)
    for one, photograph in (
        (options, photo()),
        (options, photo("cd" * 32)),
        (chosen(checkpoint, "annotate.sam.overlap=0.5"), photo()),
        (chosen(checkpoint, "annotate.sam.points_per_side=3"), photo()),
    ):
        regions.of_photograph(photograph, picture, one, workspace)
    assert len(list((workspace.state / "regions" / "sam").rglob("*.npz"))) == 4
    before = regions.inputs(options, workspace)
    entry = checkpoint / "generation.json"
    entry.write_text("{}")
    assert regions.inputs(options, workspace) != before
    entry.unlink()
    assert regions.inputs(options, workspace) == before


def test_nothing_trusted_is_no_segment(checkpoint, picture, tmp_path):
    found = regions.of_photograph(
        photo(), picture, chosen(checkpoint, "annotate.sam.predicted_iou=1.0", "annotate.sam.stability=1.0"), Workspace(tmp_path)
    )
    assert found.labels.shape == (150, 225) and found.names == () and not found.labels.any()


def test_pixels_are_prepared_as_by_the_processor(picture):
    from transformers import SamImageProcessorPil

    processor = SamImageProcessorPil(size={"longest_edge": 96}, pad_size={"height": 96, "width": 96})
    expected = processor(picture, return_tensors="np")
    mine = promptable.prepared(picture, tuple(expected["reshaped_input_sizes"][0]), 96, promptable.IMAGENET)
    assert expected["reshaped_input_sizes"][0].tolist() == [64, 96]
    np.testing.assert_allclose(mine, expected["pixel_values"], atol=1e-5)


@pytest.mark.parametrize(("make", "size"), [(sam_model, (43, 64)), (sam2_model, (64, 64)), (sam2_video_model, (64, 64))])
def test_masks_are_those_of_the_model_asked_plainly(make, size, picture, tmp_path):
    """One point on this module's way gives the logits that the model gives when asked as its documentation says. SAM keeps the
    aspect, so only the upper rows of its masks are the photograph.
    """
    import torch

    torch.manual_seed(0)
    made = make().eval()
    made.save_pretrained(tmp_path)
    options = chosen(
        tmp_path, "annotate.sam.points_per_side=1", "annotate.sam.predicted_iou=0.0", "annotate.sam.stability=0.0"
    ).annotate.sam
    seen = promptable.see(picture, options, Workspace(tmp_path))
    logits, scores = sam.sure_masks(seen, options)
    if make is sam2_video_model:  # which cannot be asked about one picture: its weights must have arrived
        stored = made.state_dict()
        assert all(torch.equal(value, stored[name]) for name, value in seen.model.state_dict().items())
        return
    values = torch.from_numpy(promptable.prepared(picture, size, SIDE, promptable.IMAGENET))
    with torch.inference_mode():
        point = torch.tensor([[[[size[1] / 2, size[0] / 2]]]])
        plain = made(pixel_values=values, input_points=point)
    trusted, masks = plain.iou_scores[0, 0].numpy(), plain.pred_masks[0, 0].numpy()
    masks = masks[:, : round(size[0] / SIDE * masks.shape[1])]
    kept = [at for at in range(3) if trusted[at] >= 0 and (masks[at] > 0).any()]
    assert kept and logits.shape == masks[kept].shape
    np.testing.assert_allclose(scores, trusted[kept], atol=1e-5)
    np.testing.assert_allclose(logits, masks[kept], rtol=2e-3, atol=1e-7)


def test_boxes_are_asked_in_pixels_of_the_photograph(picture, tmp_path):
    import torch

    torch.manual_seed(0)
    made = sam_model().eval()
    made.save_pretrained(tmp_path)
    seen = promptable.see(picture, chosen(tmp_path).annotate.sam, Workspace(tmp_path))
    boxes = np.array([[45, 30, 90, 75]] * 20)  # 225x150 pixels: more boxes than are asked at once
    logits, scores = seen.ask(boxes=boxes)
    values = torch.from_numpy(promptable.prepared(picture, (43, 64), SIDE, promptable.IMAGENET))
    scaled = torch.tensor([[[45 * 64 / 225, 30 * 43 / 150, 90 * 64 / 225, 75 * 43 / 150]]])
    with torch.inference_mode():
        plain = made(pixel_values=values, input_boxes=scaled)
    assert logits.shape[:2] == scores.shape == (20, 3)
    np.testing.assert_allclose(logits[19], plain.pred_masks[0, 0, :, : logits.shape[2]], atol=1e-8)
    np.testing.assert_allclose(scores[19], plain.iou_scores[0, 0], atol=1e-6)


def test_weights_that_are_missing_are_noticed(tmp_path, picture):
    from safetensors.numpy import load_file, save_file

    sam_model().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    save_file({name: value for name, value in tensors.items() if "iou_prediction_head" not in name}, path, {"format": "pt"})
    with pytest.raises(StageError, match="lacks 6 weights"):
        regions.of_photograph(photo(), picture, chosen(tmp_path), Workspace(tmp_path / "work"))


def test_unusable_models_are_one_sentence(picture, tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(StageError, match=r"annotate\.sam\.model is missing"):
        regions.inputs(config.load(overrides=("annotate.regions=sam",)), workspace)
    with pytest.raises(StageError, match="40 hex"):
        regions.of_photograph(photo(), picture, chosen("facebook/sam-vit-base"), workspace)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match="cannot be loaded"):
        regions.of_photograph(photo(), picture, chosen(tmp_path / "empty"), workspace)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(StageError, match="bert model, expected SAM"):
        regions.of_photograph(photo(), picture, chosen(tmp_path / "bert"), workspace)


# --- the steps around the model, by hand


def box(rows: slice, columns: slice, size=(32, 32), high=5.0, low=-5.0) -> np.ndarray:
    logits = np.full(size, low, np.float32)
    logits[rows, columns] = high
    return logits


def test_grid_points_are_cell_middles():
    assert proposals.grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_unsure_unstable_and_tiny_masks_are_dropped():
    firm = box(slice(0, 10), slice(0, 10))
    shaky = box(slice(0, 10), slice(0, 10), high=0.5)  # gone when the threshold rises by one
    tiny = box(slice(0, 1), slice(0, 1), size=(64, 64))
    good = proposals.sure(np.stack([firm, firm, shaky]), np.array([0.9, 0.5, 0.9]), 0.8, 0.85)
    assert good.tolist() == [True, False, False]
    assert proposals.sure(tiny[None], np.array([0.9]), 0.8, 0.85).tolist() == [False]


def test_of_repeated_masks_the_most_trusted_stays():
    a, b, c = (box(slice(0, 10), slice(0, end)) for end in (10, 9, 4))  # IoU of a and b 0.9, of a and c 0.4
    logits = np.stack([a, b, c])
    assert proposals.distinct(logits, np.array([0.8, 0.9, 0.7]), 0.7).tolist() == [1, 2]
    assert proposals.distinct(logits, np.array([0.8, 0.9, 0.7]), 0.3).tolist() == [1]
    assert proposals.distinct(logits, np.array([0.8, 0.9, 0.7]), 0.95).tolist() == [1, 0, 2]


def test_small_holes_and_islands_are_mended():
    logits = box(slice(10, 60), slice(10, 60), size=(100, 100))
    logits[20:22, 20:22] = -5  # a hole of 4 pixels: under a thousandth
    logits[30:45, 30:45] = -5  # a real hole
    logits[90:92, 90:92] = 5  # an island
    mask = proposals.mended(logits) > 0
    assert mask[21, 21] and not mask[40, 40] and not mask[91, 91] and mask.sum() == 2500 - 225
    alone = box(slice(0, 2), slice(0, 2), size=(100, 100))
    assert (proposals.mended(alone) > 0).sum() == 4
    assert (proposals.mended(np.full((9, 9), -1.0, np.float32)) < 0).all()


def test_parts_lie_on_wholes_and_hidden_wholes_vanish():
    whole, part = box(slice(0, 16), slice(0, 32)), box(slice(0, 8), slice(0, 8))
    labels = proposals.layered([part, whole], (64, 64))  # twice as large
    assert labels[4, 4] == 1 and labels[4, 40] == 2 and labels[50, 4] == 0
    assert 1900 <= (labels > 0).sum() <= 2150
    parts = [box(slice(0, 16), slice(0, 14)), box(slice(0, 16), slice(18, 32))]
    labels = proposals.layered([*parts, whole], (32, 32))
    assert labels[8, 4] == 1 and labels[8, 30] == 2 and labels[8, 16] == 0  # what is left of the whole is nothing
    assert not proposals.layered([], (5, 5)).any()
