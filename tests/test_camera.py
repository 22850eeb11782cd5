"""The camera and the light."""

import pytest
import torch

from artv_cli.storybook.camera import NIGHT, PAN, View, daylight, extent, film, lit, pans, views
from artv_cli.storybook.motion import Pose

STAND = Pose(0.5, 0.6, 0.8, 0.4)


def test_a_camera_at_rest_shows_the_stage_as_it_is() -> None:
    seen = views(("left",) * 3, [STAND] * 3)
    stage = torch.rand(3, 16, 16)
    assert extent(seen) == (0, 1)
    assert torch.equal(film(stage, seen, (16, 16))[2], stage)


def test_panning_shows_more_of_the_stage() -> None:
    told = ("pan-right",) * 4
    seen = views(told, [STAND] * 4)
    low, high = extent(seen)
    assert (low, high) == (0, pytest.approx(1 + 3 * PAN))
    assert pans(told)[3] == pytest.approx(-3 * PAN)
    assert seen[3].of(STAND).x == pytest.approx(STAND.x - 3 * PAN)


def test_zooming_in_keeps_its_subject_in_place_and_enlarges_it() -> None:
    seen = views(("zoom",) * 5, [STAND] * 5)
    shown = seen[4].of(STAND)
    assert (shown.x, shown.y) == (pytest.approx(STAND.x), pytest.approx(STAND.y))
    assert shown.size == pytest.approx(STAND.size * 1.03**4)
    assert all(0 <= view.x and view.x + view.size <= 1 for view in seen)
    assert seen[0] == View()


def test_light_goes_and_returns_and_holds_in_between() -> None:
    lights = daylight(("dusk",) * 9 + ("left",) * 2 + ("dawn",) * 3)
    assert lights[0] == 1 and lights[8:11] == [0, 0, 0] and 0 < lights[-1] < 1
    frames = torch.ones(2, 3, 4, 4)
    assert lit(frames, [1.0, 0.0])[1, :, 0, 0].tolist() == pytest.approx(list(NIGHT))
