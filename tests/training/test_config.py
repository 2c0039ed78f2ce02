"""Configuration files: defaults are the published values, mistakes are named."""

from pathlib import Path

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.training.config import IMRConfig, SAAConfig, as_toml, load_config

from .small_world import imr_toml, saa_toml, write_config

SMALLEST = '[base]\nmodel = "sd15"\n[data]\nfolder = "photos"\ncache = "cache"\n[run]\noutput = "out"\nsteps = 10\n'


def saa(folder: Path, text: str) -> SAAConfig:
    return load_config(write_config(folder / "saa.toml", text), SAAConfig)


def test_defaults_are_the_published_values(tmp_path: Path):
    config = saa(tmp_path, SMALLEST)
    settings = config.optimizer
    assert (settings.learning_rate, settings.weight_decay, settings.batch_size) == (1e-4, 1e-2, 8)
    assert (config.model.lora_rank, config.data.size, config.model.gate_threshold) == (128, 512, 0.3)
    assert (config.model.drop_face, config.model.drop_text, config.model.drop_both) == (0.05, 0.05, 0.05)
    assert config.data.folder == tmp_path / "photos"
    text = SMALLEST + '[model]\nsaa = "SAA.bin"\n'
    second = load_config(write_config(tmp_path / "imr.toml", text), IMRConfig).model
    assert (second.targets, second.consistency, second.contrastive, second.depth) == (32, 1.0, 0.0, 1)


@pytest.mark.parametrize("kind", [SAAConfig, IMRConfig])
def test_what_is_saved_reads_back_equal(kind: type, tmp_path: Path):
    text = (saa_toml if kind is SAAConfig else imr_toml)(tmp_path / 'a "quoted" folder'.replace('"', "'"))
    config = load_config(write_config(tmp_path / "a.toml", text), kind)
    assert load_config(write_config(tmp_path / "elsewhere" / "b.toml", as_toml(config)), kind) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("steps = 10", "steps = 10\nspeed = 3"), "'run.speed' is unknown"),
        (("[run]", "[rum]"), "'rum' is unknown"),
        (("steps = 10", ""), "'run.steps' is missing"),
        (("steps = 10", 'steps = "10"'), "'run.steps' is '10'. Give a whole number"),
        (("steps = 10", "steps = 1.5"), "Give a whole number"),
        (("steps = 10", "steps = 0"), "above 0"),
        (("steps = 10", "steps = true"), "Give a whole number"),
        (("steps = 10", "steps = 10\nmixed_precision = 'fp8'"), "Use one of: no, fp16, bf16"),
        (("steps = 10", "steps = 10\n[optimizer]\nbatch_size = 6\nmicro_batch_size = 4"), "no multiple"),
        (("steps = 10", "steps = 10\n[optimizer]\nwarmup_steps = 3\ndecay_steps = 8"), "exceed run.steps"),
        (("steps = 10", "steps = 10\n[optimizer]\ndecay_steps = -1"), "below 0"),
        (("steps = 10", "steps = 10\n[model]\ndrop_face = 0.6\ndrop_text = 0.6"), "add up to 1"),
        (("steps = 10", "steps = 10\n[model]\nmax_timestep = 0"), "at least 1"),
        (('cache = "cache"', 'cache = "cache"\nsize = 100'), "multiple of 8"),
        (('model = "sd15"', "model = 3"), "a path in quotes"),
        (("[run]", "[run"), "no TOML"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], words: str, tmp_path: Path):
    with pytest.raises(DynamicIDError, match=words.replace(".", r"\.")) as error:
        saa(tmp_path, SMALLEST.replace(*change))
    assert error.value.where.endswith("saa.toml")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DynamicIDError, match="cannot be read"):
        load_config(tmp_path / "none.toml", SAAConfig)


@pytest.mark.parametrize(("name", "kind"), [("saa", SAAConfig), ("imr", IMRConfig)])
def test_the_examples_load(name: str, kind: type):
    import dynamicid.training

    config = load_config(Path(dynamicid.training.__path__[0]) / "examples" / f"{name}.toml", kind)
    assert config.run.mixed_precision == "bf16"
