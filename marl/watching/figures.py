"""The two figures of a page, by bokeh: the network with its agents, and the curve of the reward."""

import math
from typing import Any

import numpy as np

from marl.plotting import REWARDS
from marl.watching.recording import Recording
from marl.watching.scene import Scene

MARKS = (
    "circle", "square", "diamond", "triangle", "inverted_triangle", "star", "hex", "plus", "square_pin", "triangle_pin",
)  # fmt: skip
"""What actions 0 to 9 look like: those that have an inside."""
SHORT = 30
"""Most characters of a name in a legend."""
AREA = 500_000
"""Pixels that the agents have together."""


def network(scene: Scene, recording: Recording) -> Any:
    """Draws the agents at the first step. The player changes the columns of the source `agents`, and where `picked` is."""
    from bokeh.models import ColumnDataSource, DataRange1d, HoverTool
    from bokeh.plotting import figure
    from bokeh.transform import linear_cmap

    (x, y), places = scene.places.T, scene.places[scene.edges]
    size = float(np.clip(0.35 * math.sqrt(AREA / len(x)), 6.0, 36.0))
    padded = {name: DataRange1d(range_padding=0.2) for name in ("x_range", "y_range")}
    drawn = figure(tools="pan,wheel_zoom,reset,tap", active_scroll="wheel_zoom", match_aspect=True, **padded, **_STRETCHED)
    drawn.axis.visible = drawn.grid.visible = False
    drawn.outline_line_color = drawn.toolbar.logo = None
    drawn.segment(
        *places[:, 0].T, *places[:, 1].T, line_color="#bbbbbb", line_width=1.5 if len(places) < 500 else 0.7, name="edges"
    )
    picked = ColumnDataSource({"x": [], "y": []}, name="picked")
    drawn.scatter("x", "y", source=picked, size=1.7 * size, fill_color=None, line_color="black", line_width=2.5)
    columns = {"x": x, "y": y, "s": recording.s[0], "r": recording.r[0], "shade": 0.0 * x, "agent": scene.agents}
    columns |= {name: [""] * len(x) for name in ("mark", "state", "action")}
    fill = linear_cmap("s", *_states(scene, recording))
    agents = drawn.scatter(
        "x",
        "y",
        source=ColumnDataSource(columns, name="agents"),
        marker="mark",
        size=size,
        fill_color=fill,
        line_color=linear_cmap("shade", _between(*REWARDS), -1.0, 1.0),
        line_width=size / 6,
    )
    agents.nonselection_glyph = agents.selection_glyph = None
    said = [("", "@agent"), ("state", "@state"), ("action", "@action"), ("reward", "@r{0.[0000]}")]
    drawn.add_tools(HoverTool(renderers=[agents], tooltips=said, visible=False))
    _explain(drawn, scene, recording, fill["transform"])
    return drawn


def curve(r: np.ndarray) -> Any:
    """Draws the average over agents, of each step and so far; the player moves `cursor`."""
    from bokeh.models import Range1d, Span
    from bokeh.plotting import figure

    each, so_far = r.mean(axis=1), averages(r)
    at = np.arange(1, len(each) + 1)
    drawn = figure(tools="", toolbar_location=None, x_range=Range1d(0, len(each) + 1), **_STRETCHED)
    drawn.line(at, each, color="#9ecae1", line_width=1.5, legend_label="this step")
    drawn.line(at, so_far, color="#08519c", line_width=3, legend_label="so far")
    drawn.scatter(at[:1], each[:1], color="#9ecae1", size=1)  # a single step is no line
    drawn.add_layout(Span(location=1, dimension="height", line_color="black", name="cursor"))
    drawn.xaxis.axis_label, drawn.yaxis.axis_label = "step", "average reward"
    drawn.legend.border_line_color = None
    drawn.add_layout(drawn.legend[0], "right")
    return drawn


def averages(r: np.ndarray) -> np.ndarray:
    """Returns the average reward per agent and step so far. Shapes: [K, n] -> [K]."""
    return np.cumsum(r.mean(axis=1)) / np.arange(1, len(r) + 1)


def marks_of(scene: Scene) -> list[str]:
    """Returns the mark of every action; there is one only where they are too many to have one each."""
    return list(MARKS[: len(scene.actions)]) or [MARKS[0]]


_STRETCHED: Any = {"sizing_mode": "stretch_both"}


def _states(scene: Scene, recording: Recording) -> tuple[list[str], float, float]:
    """Returns the palette, and the numbers at both its ends: a color each for a few states."""
    from bokeh.palettes import Viridis256

    if not scene.states:
        return list(Viridis256), 0.0, float(recording.s.max())
    count = len(scene.states)
    return [Viridis256[round(k)] for k in np.linspace(0, 255, count)], -0.5, count - 0.5


def _between(*colors: str) -> list[str]:
    from bokeh.palettes import interp_palette

    return list(interp_palette(colors, 101))


def _explain(drawn: Any, scene: Scene, recording: Recording, states: Any) -> None:
    """Says what colors, marks and outlines are, beside the network."""
    from bokeh.models import ColorBar, Legend, LegendItem

    items: list[Any] = []

    def add(name: str, **look: Any) -> None:
        short = name if len(name) <= SHORT else name[: SHORT - 3] + "..."
        shown = [drawn.scatter([math.nan], [math.nan], size=14, **look)] if look else []
        items.append(LegendItem(label={"value": short}, renderers=shown))

    if scene.states:
        add("STATE")
        for name, color in zip(scene.states, states.palette, strict=True):
            add(name, color=color)
    if scene.actions:
        add("ACTION")
        for name, mark in zip(scene.actions, marks_of(scene), strict=True):
            add(name, marker=mark, color="#777777")
    add("OUTLINE: REWARD")
    r = recording.r
    occur = ((r < 0).any(), (r == 0).any(), (r > 0).any())
    for name, color, occurs in reversed(list(zip(("below 0", "0", "above 0"), REWARDS, occur, strict=True))):
        if occurs:
            add(name, line_color=color, fill_color="white", line_width=3)
    drawn.add_layout(Legend(items=items, border_line_color=None, padding=0, spacing=0), "right")
    if not scene.states:
        drawn.add_layout(ColorBar(color_mapper=states, title="state"), "right")
