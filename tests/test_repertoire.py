"""Who can do what, and where."""

from artv_cli.storybook.characters import CHARACTERS
from artv_cli.storybook.repertoire import MOTIONS, companions, gait_in, held_out, medium, motions
from artv_cli.storybook.scenes import SCENES


def test_the_world_is_as_large_as_it_is_meant_to_be() -> None:
    assert len(CHARACTERS) >= 64 and len(SCENES) >= 14 and len(MOTIONS) >= 13


def test_characters_live_somewhere_and_every_scene_and_motion_is_used() -> None:
    used = {(s, m) for c in CHARACTERS for s in SCENES for m in motions(c, s)}
    assert {scene for scene, _ in used} == set(SCENES)
    assert {motion for _, motion in used} == set(MOTIONS)
    assert all(any(medium(c, s) for s in SCENES) for c in CHARACTERS)
    assert all(companions(c, s) for c in CHARACTERS for s in SCENES if medium(c, s))


def test_nobody_does_what_makes_no_sense() -> None:
    assert motions("fish", "desert") == ()
    assert "up" not in motions("cat", "meadow") and "jump" in motions("cat", "meadow")
    assert "jump" not in motions("bee", "meadow") and "down" in motions("bee", "meadow")
    assert "sleep" in motions("cat", "meadow") and "sleep" not in motions("car", "meadow")
    assert "dusk" in motions("cat", "meadow") and "dusk" not in motions("cat", "moon")


def test_the_way_of_getting_about_depends_on_where_one_is() -> None:
    assert gait_in("robot", "space") == "float"
    assert gait_in("duck", "land") == "walk" and gait_in("duck", "surface") == "swim"
    assert gait_in("turtle", "water") == "swim"


def test_a_tenth_of_all_combinations_is_held_out() -> None:
    triples = [(c, m, s) for c in CHARACTERS for s in SCENES for m in motions(c, s)]
    kept = [triple for triple in triples if held_out(*triple)]
    assert 0.08 < len(kept) / len(triples) < 0.12
