"""Configuration files: defaults are the published values, mistakes are named."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dynamicid.errors import DynamicIDError
from dynamicid.training.config import (
    BaseSection,
    DataSection,
    IMRConfig,
    IMRModelSection,
    OptimizerSection,
    RunSection,
    SAAConfig,
    SAAModelSection,
    load_config,
    to_toml,
)

from .small_world import changed, imr_toml, saa_toml, write_config

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
    text = (saa_toml if kind is SAAConfig else imr_toml)(tmp_path / "a folder")
    config = load_config(write_config(tmp_path / "a.toml", text), kind)
    config = changed(config, data={"folder": tmp_path / 'a "quoted" \\ folder\n'})
    other = tmp_path / "elsewhere"
    assert load_config(write_config(other / "b.toml", to_toml(config, other)), kind) == config
    # Beside the folder it is written into, everything but data.folder is relative.
    assert to_toml(config, tmp_path / "a folder" / "out").count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (("steps = 10", "steps = 10\nspeed = 3"), "'run.speed' is unknown; known keys: output, steps, seed"),
        (("[run]", "[rum]"), "'rum' is unknown; known keys: data, run, optimizer, base, model"),
        (("steps = 10", ""), "'run.steps' is missing"),
        (("steps = 10", 'steps = "10"'), "'run.steps' is '10'; input should be a valid integer"),
        (("steps = 10", "steps = 1.5"), "'run.steps' is 1.5; input should be a valid integer"),
        (("steps = 10", "steps = 0"), "'run.steps' is 0; input should be greater than 0"),
        (("steps = 10", "steps = true"), "'run.steps' is True; input should be a valid integer"),
        (("steps = 10", "steps = 10\nseed = -1"), "'run.seed' is -1; input should be greater than or equal to 0"),
        (("steps = 10", "steps = 10\nmixed_precision = 'fp8'"), "is 'fp8'; input should be 'no', 'fp16' or 'bf16'"),
        (("steps = 10", "steps = 10\n[optimizer]\nlearning_rate = inf"), "'optimizer.learning_rate' is inf"),
        (
            ("steps = 10", "steps = 10\n[optimizer]\nema_decay = 1.0"),
            "'optimizer.ema_decay' is 1.0; input should",
        ),
        (
            ("steps = 10", "steps = 10\n[optimizer]\nbatch_size = 6\nmicro_batch_size = 4"),
            "batch_size 6 is not a multiple of micro_batch_size 4",
        ),
        (
            ("steps = 10", "steps = 10\n[optimizer]\nwarmup_steps = 3\ndecay_steps = 8"),
            "optimizer.warmup_steps + decay_steps = 11 exceed run.steps = 10",
        ),
        (("steps = 10", "steps = 10\n[optimizer]\ndecay_steps = -1"), "'optimizer.decay_steps' is -1"),
        (("steps = 10", "steps = 10\n[model]\ndrop_face = 0.6\ndrop_text = 0.6"), "drop_both add up to 1.25"),
        (("steps = 10", "steps = 10\n[model]\nmax_timestep = 0"), "'model.max_timestep' is 0"),
        (('cache = "cache"', 'cache = "cache"\nsize = 100'), "'data.size' is 100; input should be a multiple of 8"),
        (('model = "sd15"', "model = 3"), "'base.model' is 3"),
        (("[run]", "[run"), "It is not TOML"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], mistake: str, tmp_path: Path):
    with pytest.raises(DynamicIDError) as error:
        saa(tmp_path, SMALLEST.replace(*change))
    assert error.value.where == str(tmp_path / "saa.toml")
    assert mistake in error.value.found


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ("targets = 3", "consistency_targets 32 exceeds targets 3"),
        ("width = 100", "'model.width' is 100; input should be a multiple of 64"),
        ("keypoint_stages = [[32, 2]]", "'model.keypoint_stages' is [[32, 2]]"),
        ("keypoint_stages = [[32, 2], [64, 3], [0, 2], [256, 2], [512, 1]]", "'model.keypoint_stages.2.0' is 0"),
        ("keypoint_stages = [[32, 2], [64, 3], [128, 2], [256, 2], [512, 1.5]]", "'model.keypoint_stages.4.1' is 1.5"),
        ("contrastive = 0.1", "needs optimizer.micro_batch_size of at least 2"),
        ("extra_share = 1.5", "'model.extra_share' is 1.5"),
    ],
)
def test_mistakes_of_stage_2_are_named(settings: str, mistake: str, tmp_path: Path):
    path = write_config(tmp_path / "imr.toml", f'{SMALLEST}[model]\nsaa = "SAA.bin"\n{settings}\n')
    with pytest.raises(DynamicIDError) as error:
        load_config(path, IMRConfig)
    assert mistake in error.value.found


def test_all_mistakes_are_named_at_once(tmp_path: Path):
    with pytest.raises(DynamicIDError) as error:
        saa(
            tmp_path,
            SMALLEST.replace("steps = 10", "stepps = 10").replace("sd15", "sd15") + "[optimizer]\nbatch_size = 0\n",
        )
    for mistake in ("'run.steps' is missing", "'run.stepps' is unknown", "'optimizer.batch_size' is 0"):
        assert mistake in error.value.found


def test_a_configuration_cannot_be_changed(tmp_path: Path):
    config = saa(tmp_path, SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        config.run.steps = 3


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DynamicIDError, match="cannot be read"):
        load_config(tmp_path / "none.toml", SAAConfig)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("saa", SAAConfig), ("imr", IMRConfig), ("tiny_saa", SAAConfig), ("tiny_imr", IMRConfig)],
)
def test_the_examples_load(name: str, kind: type):
    import dynamicid.training

    config = load_config(Path(dynamicid.training.__path__[0]) / "examples" / f"{name}.toml", kind)
    assert config.run.mixed_precision == "bf16"


def test_the_documentation_names_keys_and_losses_that_exist():
    text = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(?:run\.)?([a-z]+(?:_[a-z]+)+)(?: = [^`]*)?`", text)) - {"buffalo_l"}
    sections = (BaseSection, DataSection, OptimizerSection, RunSection, SAAModelSection, IMRModelSection)
    keys = {key for section in sections for key in section.model_fields}
    assert len(names & keys) > 15
    # test_train_imr.py finds the same names in the log.
    assert names - keys == {"feature_matching", "latent_diffusion_consistency"}
