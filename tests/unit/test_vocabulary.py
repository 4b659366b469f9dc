"""The vocabulary as a value, with a toy thirteenth category, and as what binds a calibration to its model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iqaflow.core.errors import DamagedError
from iqaflow.core.files import write_json
from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.engine import answers
from iqaflow.engine import calibration as records
from iqaflow.engine.session import Engine
from iqaflow.infer.assessor import Assessor
from iqaflow.model import base, integrity, tiny
from iqaflow.model.dense_head import single_tokens
from iqaflow.model.location import in_folder
from iqaflow.tasks import grammar, vocabulary
from iqaflow.tasks.vocabulary import FIRST, Vocabulary, current

BASE = Path(__file__).parents[2] / "models" / "base-tiny"
FOGGY = replace(FIRST, categories=tuple(sorted((*FIRST.categories, ("fog", "thick fog")))))


def conversation(question: str, answer: str, *categories: str, task: str = "identify", style: str = "brief") -> dict:
    return {
        "conversation_id": question,
        "task": task,
        "style": style,
        "image_ids": [{"role": "image", "image_id": "one"}],
        "turns": [{"role": "user", "text": question}, {"role": "assistant", "text": answer}],
        "targets": {"categories": list(categories), "kind": "global"},
    }


@pytest.mark.parametrize("known", [FIRST, FOGGY, current()])
def test_a_vocabulary_comes_back_from_json(known):
    assert Vocabulary.read(json.loads(json.dumps(known.tree()))) == known
    assert vocabulary.of({vocabulary.KEY: known.tree()}) == known and vocabulary.of({}) == FIRST


def test_closed_sets_follow_from_the_categories():
    for known, count in ((FIRST, 12), (FOGGY, 13)):
        assert len(set(known.names)) == count + 1 and known.names[-1] == grammar.CLEAN
        assert len(set(known.ordered_pairs)) == count * (count - 1) and len(set(known.regions)) == 5 * count + 1
        logs = np.log(np.full((2, count * (count - 1)), 1 / (count * (count - 1))))
        pairs, both = known.pairs(logs)
        assert len(set(pairs)) == count * (count - 1) // 2 and np.exp(both) == pytest.approx(2 * np.exp(logs[:, : len(pairs)]))
        assert np.exp(known.by_category(np.log(np.full(5 * count + 1, 0.1)))) == pytest.approx([0.5] * count + [0.1])
    assert "thick fog and noise" in FOGGY.ordered_pairs and "slight thick fog" in FOGGY.regions
    assert FIRST.values == (0, 0.25, 0.5, 0.75, 1) and FIRST.cells == 400


def test_a_conversation_is_covered_if_all_it_names_is_known(monkeypatch):
    renamed = replace(FIRST, categories=tuple((id, "grain" if id == "noise" else phrase) for id, phrase in FIRST.categories))
    assert FIRST.apart(FOGGY) == FOGGY.apart(FIRST) == {"fog"} and FIRST.apart(renamed) == {"noise"}
    monkeypatch.setattr(vocabulary, "current", lambda: FOGGY)
    monkeypatch.setattr(grammar, "phrases", lambda: FOGGY.phrases)
    asked = [
        conversation("What is wrong?", "blur", "blur"),
        conversation("What is wrong?", "thick fog and noise", "fog", "noise"),
        conversation("Where is the thick fog worst?", "top left"),
        conversation("Which is it?", "It is noise."),
    ]
    assert [FIRST.covers(row) for row in asked] == [True, False, False, True]
    assert [FOGGY.covers(row) for row in asked] == [True] * 4
    assert [renamed.covers(row) for row in asked] == [True, False, False, False]


def test_words_of_a_model_are_read_as_that_model_means_them():
    assert grammar.parse("Is the thick fog or the blur worse?", FOGGY.phrases).categories == ("fog", "blur")
    assert grammar.parse("Is the thick fog or the blur worse?", FIRST.phrases).categories == ("blur",)


def test_the_base_that_ships_has_the_first_vocabulary_in_single_tokens():
    assert vocabulary.KEY not in read_manifest(BASE) and vocabulary.of_model(BASE) == FIRST
    _, processor = base.load(BASE)
    assert len(set(single_tokens(processor.tokenizer, FIRST.names, "dense", "0"))) == 13


def test_a_tiny_base_grows_the_words_it_lacks_and_keeps_the_others(monkeypatch):
    import torch

    model, processor = base.load(BASE)
    assert not tiny.lacks_words(model, processor)
    monkeypatch.setattr(tiny, "current", lambda: FOGGY)
    assert tiny.lacks_words(model, processor)
    grown, larger = tiny.grow(model, processor, ["fog"])
    old, new = processor.tokenizer.get_vocab(), larger.tokenizer.get_vocab()
    assert new.keys() - old.keys() == {"fog", "\u2581fog"} and old.keys() <= new.keys()
    before, after = (one.get_input_embeddings().weight for one in (model, grown))
    assert all(torch.equal(before[at], after[new[token]]) for token, at in old.items())
    spelt = processor.tokenizer("fog", add_special_tokens=False)["input_ids"]
    assert len(spelt) > 1 and torch.allclose(after[new["fog"]], before[spelt].mean(0))


def test_a_model_is_asked_for_all_its_own_categories():
    """The category is spelled in pieces here: closed sets are then scored as branches."""
    from iqaflow.data.images import encode_png

    model, processor = base.load(BASE)
    model.config.iqaflow_dense = False
    engine = Engine(model, processor, FOGGY)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    images = [{"image_id": "one", "image": encode_png(pixels), "reference": None}]
    asked = [
        conversation("Name the TWO distortions.", "thick fog and noise", "fog", "noise"),
        conversation("Name the ONE distortion.", "noise", "noise"),
    ]
    readings = {reading.kind: reading for reading in answers.read(engine, images, asked)}
    assert {kind: len(reading.candidates) for kind, reading in readings.items()} == {
        "identify": 14,
        "identify_two": 78,
        "score": 5,
    }
    assert all(np.exp(reading.log_probs).sum() == pytest.approx(1) for reading in readings.values())


def test_train_and_calibrate_write_the_vocabulary(calibrated):
    workspace = Workspace(calibrated)
    assert read_manifest(workspace.stage1)[vocabulary.KEY] == current().tree()
    assert records.read(workspace.calibration)[vocabulary.KEY] == current().tree()


def test_a_calibration_of_another_vocabulary_is_refused_in_a_sentence(calibrated, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(calibrated / "models", models)
    record = json.loads((models / integrity.CALIBRATION).read_text())
    known = vocabulary.of(record)
    fog = replace(known, categories=tuple(sorted((*known.categories, ("fog", "thick fog")))))
    write_json(models / integrity.CALIBRATION, {**record, vocabulary.KEY: fog.tree()})
    integrity.bind(models)
    with pytest.raises(DamagedError, match=r"was fitted to another vocabulary than that of the model .*run `iqaflow calibrate`"):
        Assessor.load(in_folder(models, "models"))
    for broken in (3, {"categories": 3}, {**fog.tree(), "categories": ["fog"]}):
        write_json(models / integrity.CALIBRATION, {**record, vocabulary.KEY: broken})
        with pytest.raises(DamagedError, match="is no calibration for this version"):
            records.read(models / integrity.CALIBRATION)
