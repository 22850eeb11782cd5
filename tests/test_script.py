"""Scripts: who does what where, drawn from a seed."""

import json
from collections import Counter
from dataclasses import asdict

import pytest

from artv_cli.storybook.characters import CHARACTERS, PLAIN
from artv_cli.storybook.repertoire import SURROUNDINGS, held_out, medium, motions
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.script import Script, sample_script


@pytest.fixture(scope="module")
def scripts() -> list[Script]:
    return [sample_script(seed, 14) for seed in range(4000)]


def test_half_of_the_clips_change_their_motion_somewhere_in_the_middle(
    scripts: list[Script],
) -> None:
    switched = [script for script in scripts if script.switch < 14]
    assert 0.45 < len(switched) / len(scripts) < 0.55
    for script in switched:
        assert 4 <= script.switch <= 10
        assert len(set(script.motions)) == 2
        assert script.motions[script.switch] != script.motions[script.switch - 1]


def test_characters_are_drawn_evenly_and_only_do_what_makes_sense(scripts: list[Script]) -> None:
    counts = Counter(script.character for script in scripts)
    mean = len(scripts) / len(CHARACTERS)
    assert set(counts) == set(CHARACTERS)
    assert min(counts.values()) > 0.5 * mean and max(counts.values()) < 1.7 * mean
    for script in scripts:
        assert set(script.motions) <= set(motions(script.character, script.scene))


def test_of_a_smaller_cast_nobody_else_is_seen_and_every_scene_is_still() -> None:
    scripts = [sample_script(seed, 14, cast=PLAIN) for seed in range(2000)]
    seen = {script.character for script in scripts}
    assert seen == PLAIN and len(PLAIN) == 40
    assert {script.companion for script in scripts} - {None} <= PLAIN
    assert {script.scene for script in scripts} == set(SCENES)


def test_every_scene_is_seen_often_enough_to_be_learnt(scripts: list[Script]) -> None:
    counts = Counter(script.scene for script in scripts)
    assert set(counts) == set(SCENES)
    assert min(counts.values()) > 0.005 * len(scripts)


def test_a_fifth_has_company_in_the_same_medium(scripts: list[Script]) -> None:
    accompanied = [script for script in scripts if script.companion]
    assert 0.16 < len(accompanied) / len(scripts) < 0.24
    for script in accompanied:
        companion = str(script.companion)
        assert companion != script.character
        assert medium(companion, script.scene) == medium(script.character, script.scene)
        if script.together:
            assert set(script.motions) <= set(motions(companion, script.scene))


def test_weather_comes_where_it_belongs_while_camera_and_light_rest(scripts: list[Script]) -> None:
    weathers = [script for script in scripts if script.weather]
    assert 0.1 < len(weathers) / len(scripts) < 0.3
    for script in weathers:
        assert script.weather in SCENES[script.scene].weathers
        assert not set(script.motions) & SURROUNDINGS


def test_day_breaks_only_when_it_was_night(scripts: list[Script]) -> None:
    for script in scripts:
        if script.motions[-1] == "dawn":
            assert script.motions[0] in ("dawn", "dusk")


def test_held_out_combinations_are_never_trained_on(scripts: list[Script]) -> None:
    for seed, trained in enumerate(scripts[:1000]):
        for motion in set(trained.motions):
            assert not held_out(trained.character, motion, trained.scene)
            if trained.together:
                assert not held_out(str(trained.companion), motion, trained.scene)
        if trained.companion and not trained.together:
            assert not held_out(trained.companion, "still", trained.scene)
        judged = sample_script(seed, 14, "held-out")
        for motion in set(judged.motions):
            assert held_out(judged.character, motion, judged.scene)
            assert motion != "still", "which every clip shows whose camera moves"


def test_a_script_survives_json() -> None:
    for seed in range(50):
        script = sample_script(seed, 8)
        read = json.loads(json.dumps(asdict(script)))
        assert Script(**{**read, "motions": tuple(read["motions"])}) == script
