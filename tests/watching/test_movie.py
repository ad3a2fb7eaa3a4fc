"""The moving picture has a frame for every step."""

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from marl import Coloring, ConfigError, Uniform, WirelessAccess
from marl.plotting import NoPictureError
from marl.watching import gif_movie, record, scene_of


class Odd(Coloring):
    """Its names are formulas, or begin as names do that matplotlib leaves out."""

    def state_name(self, i: int, s: int) -> str:
        return ("_hidden", "$\\frac{", "a$b$")[s % 3]


@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize("name", ["wireless", "many kinds", "odd names"])
def test_as_many_frames_as_steps(name: str, steps: int, small: WirelessAccess) -> None:
    env = {"wireless": small, "many kinds": Coloring("ring:4", 12), "odd names": Odd("ring:4")}[name]
    recording = record(env, Uniform(env), steps=steps)
    found = Image.open(io.BytesIO(gif_movie(scene_of(env, recording, ""), recording)))
    assert found.format == "GIF"
    assert found.n_frames == steps
    frames = []
    for k in range(steps):
        found.seek(k)
        frames.append(np.asarray(found.convert("RGB")))
    assert all((one != other).any() for one, other in pairwise(frames))


def test_where_none_can_be_drawn_it_is_said_why(monkeypatch: pytest.MonkeyPatch, small: WirelessAccess) -> None:
    def refuse(*_: object) -> bytes:
        raise NoPictureError("the picture needs matplotlib: pip install networked-marl[plots]")

    monkeypatch.setattr("marl.watching.movie.network_movie", refuse)
    recording = record(small, Uniform(small), steps=2)
    with pytest.raises(ConfigError, match="needs matplotlib"):
        gif_movie(scene_of(small, recording, ""), recording)
