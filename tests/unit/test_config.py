"""params.yaml is the typed tree: equal keys, equal documentation, refused mistakes, overrides that mean what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from iqaflow.core import config as module
from iqaflow.core.config import Config, diff, flatten, load, presets
from iqaflow.core.config import params_file as params
from iqaflow.core.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_file_and_tree_are_equal() -> None:
    assert (ROOT / "params.yaml").read_text() == params.as_yaml(Config()), "run `iqaflow config write --defaults`"
    assert flatten(load(ROOT / "params.yaml").tree()) == flatten(Config().tree())


def test_every_field_is_documented() -> None:
    def missing(model: type[BaseModel], where: str) -> list[str]:
        names = []
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                names += missing(field.annotation, f"{where}{name}.")
            elif not field.description and name != "seed":
                names.append(where + name)
        return names

    assert missing(Config, "") == []


@pytest.mark.parametrize("preset", presets())
def test_presets_load_and_round_trip(preset: str, tmp_path: Path) -> None:
    chosen = load(None, preset, ("source.path=photos",))
    params.write(tmp_path / "params.yaml", chosen)
    assert load(tmp_path / "params.yaml") == chosen


def test_tiny_is_the_default_and_the_real_presets_differ_only_in_values() -> None:
    assert {"tiny", "quick", "qwen3-vl-4b", "qwen2.5-vl-7b"} <= set(presets())
    assert load(None, "tiny") == Config()
    assert set(flatten(load(None, "qwen3-vl-4b").tree())) == set(flatten(Config().tree()))


def test_overrides() -> None:
    chosen = load(
        None,
        None,
        ("train.lr=2e-5", "annotate.images.train=7", "source.limit=null", "train.tuning=lora", "benchmark.guarded=[a.b]"),
    )
    assert (chosen.train.lr, chosen.annotate.images.train, chosen.source.limit) == (2e-5, 7, None)
    assert (chosen.train.tuning, chosen.benchmark.guarded) == ("lora", ("a.b",))
    assert set(diff(Config(), chosen)) == {"train.lr", "annotate.images.train", "train.tuning", "benchmark.guarded"}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.lrr=1", "unknown key 'train.lrr'"),
        ("train.lr=-1", "train.lr: input should be greater than 0, got -1"),
        ("train.precision=fp8", "train.precision: input should be 'fp32' or 'bf16', got 'fp8'"),
        ("train.lr", "is not of the form section.key=value"),
        ("seed.deep=1", "seed is a value, not a section"),
        ("source.kind=folder", "source.path is missing"),
        ("validate.x={", "not valid YAML"),
    ],
)
def test_mistakes_are_one_sentence(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(ROOT / "params.yaml", None, (override,))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: {lr: 1", "not valid YAML"),
        ("- 1\n", "must hold sections"),
        ("trian: {}\n", "unknown key 'trian'"),
        ("\xff", "not valid YAML"),
    ],
)
def test_broken_files_are_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="quick"):
        load(None, "qiuck")


def test_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().train.lr = 1.0


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        "null",
        "1.5",
        "a: b",
        "#x",
        "",
        "models/base-tiny",
        "0 3 * * 0",
        "é",
        True,
        None,
        1e-5,
        3e-4,
        1.0,
        0.1,
        [1, 2.5],
        {"a": "b c"},
        60_000_000,
    ],
)
def test_values_survive_yaml(value: object) -> None:
    from ruamel.yaml import YAML

    assert YAML(typ="safe", pure=True).load(params.dump(params.in_flow({"k": value}))) == {"k": value}


def test_yaml_1_1_readers_agree(tmp_path: Path) -> None:
    """DVC reads YAML 1.2, people's scripts often 1.1: the file must mean the same in both."""
    import yaml

    text = params.as_yaml(load(None, None, ("train.lr=1e-5", "train.weight_decay=1e-7")))
    assert yaml.safe_load(text) == load(None, None, ("train.lr=1e-5", "train.weight_decay=1e-7")).tree()


def test_module_reads_presets_from_the_package() -> None:
    assert module.PRESETS.parent.name == "config"
