"""What the command line, the environment and TOML files may say, and how a bad value is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from artv_cli.errors import UsageError
from artv_cli.setting_sources import (
    VARIABLES,
    environment_settings,
    file_settings,
    flag_settings,
)
from artv_cli.settings import GuidanceSettings, Settings, explain


def complaint(**flags: object) -> str:
    with pytest.raises(UsageError) as error:
        flag_settings(**flags)
    return error.value.message


@pytest.mark.parametrize(
    ("name", "said", "value"),
    [
        ("steps", "8", 8),
        ("steps", 1000, 1000),
        ("seed", str(2**63 - 1), 2**63 - 1),
        ("size", "128x96", (128, 96)),
        ("size", [128, 96], (128, 96)),
        ("size", (128, "96"), (128, 96)),
        ("fps", "30000/1001", Fraction(30000, 1001)),
        ("fps", 29.97, Fraction(2997, 100)),
        ("fps", Fraction(25, 2), Fraction(25, 2)),
        ("dtype", "bf16", "bfloat16"),
        ("dtype", "float16", "float16"),
        ("device", "cuda:1", "cuda:1"),
        ("sampler", "euler", "euler"),
        ("noise_level", 0, 0),
        ("strict", "yes", True),
        ("strict", False, False),
        ("cache", "~/frames", Path.home() / "frames"),
        ("cache", Path("frames"), Path("frames")),
        ("model", "runwayml/art-v", "runwayml/art-v"),
        ("guidance", {"text": 1}, GuidanceSettings(text=1)),
        ("guidance", 6.5, GuidanceSettings(text=6.5)),
        ("guidance", "6.5", GuidanceSettings(text=6.5)),
        (
            "guidance",
            "text=3, anchor=1e-1,on=composed",
            GuidanceSettings(text=3, anchor=0.1, on="composed"),
        ),
        ("guidance", {"rescale": "0.7"}, GuidanceSettings(rescale=0.7)),
        ("guidance", {"interval": ["200", 900]}, GuidanceSettings(interval=(200, 900))),
        ("guidance", "rescale=1,interval=0 - 0", GuidanceSettings(rescale=1, interval=(0, 0))),
    ],
)
def test_a_flag_is_read_as_a_person_means_it(name: str, said: object, value: object) -> None:
    assert getattr(flag_settings(**{name: said}), name) == value


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [
        ("steps", "many", "--steps must be a whole number from 1 to 1000, not 'many'"),
        ("steps", "1_000", "not '1_000'"),
        ("steps", "8.0", "not '8.0'"),
        ("steps", "0", "not '0'"),
        ("steps", True, "not True"),
        ("steps", "9" * 5000, "not '9999999999999999999999999999999999999...'"),
        ("steps", 10**30, "not so much"),
        ("seed", -1, "not -1"),
        ("noise_level", 1000, "--noise-level must be a whole number from 0 to 999"),
        ("size", "128", "--size must be width and height in pixels, such as 128x96"),
        ("size", [128, 7], "from 8 to 8192; not [128, 7]"),
        ("size", [[1], 2], "not a list"),
        ("fps", "0", "not '0'"),
        ("fps", "1/0", "not '1/0'"),
        ("fps", "1:30", "not '1:30'"),
        ("fps", True, "not True"),
        ("fps", 1001, "at most 1000; not 1001"),
        ("sampler", "eular", "not 'eular'; did you mean 'euler'?"),
        ("dtype", 16, "--dtype must be float32 or float16 or bfloat16, not 16"),
        ("device", "CUDA 1", "--device must be auto, cpu, cuda, cuda:1 or mps, not 'CUDA 1'"),
        ("strict", "maybe", "--strict must be true or false, not 'maybe'"),
        ("model", "", "--model is blank"),
        ("model", "a\0b", "cannot be shown"),
        ("model", ["a"], "--model must be text, not [a]"),
        ("cache", "~nobody-at-all/x", "home folder that does not exist"),
        ("guidance", "text=99", "--guidance: text must be a number from 0 to 50, not '99'"),
        ("guidance", "txt=1", "--guidance: txt is not a known key; did you mean 'text'?"),
        ("guidance", "text=nan", "not 'nan'"),
        ("guidance", {"text": float("inf")}, "not inf"),
        ("guidance", "rescale=1.5", "--guidance: rescale must be a number from 0 to 1, not '1.5'"),
        (
            "guidance",
            "interval=900-200",
            "--guidance: interval must be the lowest and the highest timestep, such as 200-900,"
            " from 0 to 999; not '900-200'",
        ),
        ("guidance", {"interval": [0, 1000]}, "from 0 to 999; not [0, 1000]"),
        ("guidance", {"interval": [0, 1, 2]}, "not [0, 1, 2]"),
        ("guidance", {"interval": "200"}, "not '200'"),
        ("guidance", {"interval": [False, True]}, "not [False, True]"),
        ("guidance", {"interval": 3}, "not 3"),
        ("guidance", [1], "--guidance must hold keys and values, not [1]"),
        ("key_frame_model", "", "--key-frame-model is blank"),
        ("stepz", 3, "--stepz is not a known key; did you mean 'steps'?"),
    ],
)
def test_a_bad_flag_is_named_with_what_it_must_be(name: str, said: object, told: str) -> None:
    assert told in complaint(**{name: said})


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("0", 0),
        ("1 kB", 1000),
        ("1.5GiB", 3 * 2**29),
        ("2gb", 2 * 10**9),
        (7, 7),
        ("3T", 3 * 10**12),
    ],
)
def test_the_size_of_a_cache_may_be_limited_in_any_unit(said: object, size: int) -> None:
    assert flag_settings(max_cache_size=said).max_cache_size == size


@pytest.mark.parametrize("said", ["much", "-1", "1 MB more", "1e3", True, ""])
def test_a_bad_limit_of_the_cache_is_told_with_an_example(said: object) -> None:
    assert "must be a size, such as 500MB" in complaint(max_cache_size=said)


def test_every_bad_flag_is_named_at_once() -> None:
    assert complaint(steps=0, fps=0).count("\n") == 1


def test_a_flag_that_was_not_given_says_nothing() -> None:
    assert flag_settings(steps=None, guidance=None) == Settings()


def test_the_environment_speaks_for_every_setting() -> None:
    values = {
        "seed": "1", "steps": "8", "sampler": "euler", "noise_level": "9", "model": "m",
        "revision": "r", "variant": "v", "dtype": "fp32", "device": "cpu",
        "offload": "model",
        "size": "64x64", "fps": "8", "strict": "1", "cache": "c", "guidance.text": "1",
        "guidance.reference": "2", "guidance.anchor": "3", "guidance.on": "composed",
        "guidance.rescale": "0.7", "guidance.interval": "200-900",
        "max_cache_size": "2GB",
    }  # fmt: skip
    key_frame = {"model": "m", "revision": "r", "variant": "v", "steps": "4", "guidance": "0"}
    values |= {f"key_frame.{name}": text for name, text in key_frame.items()}
    assert set(values) == set(VARIABLES)
    settings = environment_settings({VARIABLES[name]: text for name, text in values.items()})
    told = explain({"environment": settings})
    assert set(told) == {name for name in values if "key_frame" not in name} | {"key_frame"}
    said = "model m, revision r, variant v, steps 4, guidance 0.0"
    assert str(told["key_frame"].value) == said
    assert VARIABLES["cache"] == "ARTV_CACHE_DIR"
    assert VARIABLES["guidance.text"] == "ARTV_GUIDANCE_TEXT"


def test_a_bad_environment_variable_is_named_and_an_empty_one_says_nothing() -> None:
    assert environment_settings({"ARTV_STEPS": "", "HOME": "/"}) == Settings()
    with pytest.raises(UsageError, match=r"^ARTV_GUIDANCE_TEXT must be a number"):
        environment_settings({"ARTV_GUIDANCE_TEXT": "loud"})


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    assert file_settings(tmp_path / "artv.toml") == Settings()


def test_a_file_is_read_with_its_cache_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "artv.toml"
    file.write_text('steps = 8\nfps = 12.5\ncache = "frames"\nsize = [64, 32]\nguidance.text = 3\n')
    assert file_settings(file) == Settings(
        steps=8,
        fps=Fraction(25, 2),
        cache=tmp_path / "frames",
        size=(64, 32),
        guidance=GuidanceSettings(text=3),
    )
    file.write_text("steps = 9\n")
    assert file_settings(file) == Settings(steps=9)


def test_a_file_names_models_from_where_it_is_or_as_they_are_called(tmp_path: Path) -> None:
    file = tmp_path / "artv.toml"
    file.write_text('model = "./mine"\nkey_frame.model = "../sdxl"\n')
    settings = file_settings(file)
    assert settings.model == f"{tmp_path}/./mine"
    assert settings.key_frame is not None and settings.key_frame.model == f"{tmp_path}/../sdxl"
    for name in ("storybook", "somebody/models", "/models/mine"):
        file.write_text(f'model = "{name}"\n')
        assert file_settings(file).model == name


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"stepz = 3", "stepz is not a known key; did you mean 'steps'?"),
        (b"steps = 1979-05-27", "steps must be a whole number from 1 to 1000, not 1979-05-27"),
        (b"[guidance]\ntxt = 3", "guidance.txt is not a known key; did you mean 'text'?"),
        (b"guidance = 3", "guidance must hold keys and values, not 3"),
        (b"steps = ", "is not TOML: Invalid value (at end of document)"),
        (b"a = '\xff'", "is not TOML in UTF-8"),
        (b"a = " + b"9" * 5000, "is not TOML in UTF-8"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b"#" * 1_000_001, "is larger than 1 MB"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "artv.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as error:
        file_settings(file)
    assert told in error.value.message
    assert error.value.message.startswith(str(file))


def test_a_folder_in_place_of_a_file_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file that can be read"):
        file_settings(tmp_path)


def test_a_key_frame_needs_a_model() -> None:
    with pytest.raises(UsageError, match="^ARTV_KEY_FRAME_MODEL is missing; add it"):
        environment_settings({"ARTV_KEY_FRAME_STEPS": "4"})
