"""Pictures are drawn here, in the only module that imports matplotlib, with the first picture.

A picture is an extra: whatever keeps it from being drawn is a `NoPictureError`, a sentence to print in its place.
"""

import contextlib
import functools
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from marl.core.environment import Environment
from marl.graphs import layout

REWARDS = ("#d55e00", "#cfcfcf", "#009e73")
"""Colors of rewards below, at and above 0, which the color-blind tell apart."""
MARKS = "osD^v*hP8p"
"""What actions 0 to 9 look like in a moving picture."""
P = ParamSpec("P")
T = TypeVar("T")


class NoPictureError(Exception):
    """There is no picture; the message says why."""


def positions(env: Environment) -> np.ndarray:
    """Places the agents: at `env.positions` where the environment says so, else by its graph. Shapes: float64 [n, 2]."""
    own = getattr(env, "positions", None)
    return layout.positions(env.network.to_networkx()) if own is None else np.asarray(own, dtype=np.float64)


def _or_no_picture(draw: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(draw)
    def drawn(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            _import_matplotlib()
            return draw(*arguments, **named)
        except ModuleNotFoundError:
            raise NoPictureError("the picture needs matplotlib: pip install networked-marl[plots]") from None
        except Exception as error:  # matplotlib has many, and settings of its own
            gist = str(error).partition("\n")[0]
            raise NoPictureError(f"the picture could not be drawn: {type(error).__name__}: {gist}") from None

    return drawn


def _import_matplotlib() -> None:
    """Keeps `MPLBACKEND` from matplotlib's import, which a name that it does not know breaks: it may be a notebook's.

    Nothing is shown here, so no backend is needed; whoever shows something later finds the one that was asked for.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


@_or_no_picture
def decay_picture(columns: dict[str, list[float]], band: dict[str, list[float]], accuracy: float) -> bytes:
    """Draws curves against kappa on a logarithmic axis, a band between two more and the wanted accuracy; a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for heading, column in columns.items():
        shown = np.where(np.array(column) > 0, column, np.nan)
        axes.plot(shown, marker="o", markersize=4, label=_plain(heading))
    if band:
        (low, high) = band.values()
        axes.fill_between(range(len(low)), low, high, alpha=0.2, linewidth=0, label=" to ".join(band))
    if accuracy > 0:
        axes.axhline(accuracy, color="0.5", linestyle=":", label=f"accuracy {accuracy:g}")
    axes.set(xlabel="kappa", ylabel="left side of (4)", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


@_or_no_picture
def learning_curves(
    curves: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]], references: Mapping[str, float]
) -> bytes:
    """Draws lines with bands, (label, steps, middle, low, high) each, shapes [L], and references across; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for label, steps, middle, low, high in curves:
        (line,) = axes.plot(steps, middle, label=_plain(label))
        axes.fill_between(steps, low, high, alpha=0.2, linewidth=0, color=line.get_color())
    for (label, value), style in zip(references.items(), itertools.cycle((":", "--", "-"))):
        axes.axhline(value, color="0.4", linewidth=1, linestyle=style, label=f"{_plain(label)} {value:.4g}")
    axes.set(xlabel="environment steps", ylabel="average reward per agent and step")
    axes.set_title("interquartile mean over replicas, 95 % bootstrap interval", fontsize=9)
    figure.legend(fontsize=8, loc="outside lower center")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


@_or_no_picture
def network_picture(env: Environment, values: np.ndarray, label: str) -> np.ndarray:
    """Draws the network with agent i colored by values[i]; uint8 [height, width, 3].

    Agents stand where `positions` puts them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    place = positions(env)
    figure = Figure(figsize=(5, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.add_collection(LineCollection(list(place[env.network.edges]), colors="0.8", zorder=1))
    size = np.clip(6000 / env.n, 10, 300)
    dots = axes.scatter(place[:, 0], place[:, 1], c=values, s=size, cmap="viridis", edgecolors="0.3", zorder=2)
    figure.colorbar(dots, ax=axes, label=label)
    axes.set_aspect("equal")
    axes.set_axis_off()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@_or_no_picture
def network_movie(places: np.ndarray, edges: np.ndarray, steps: Sequence[np.ndarray], names: Sequence[list[str]]) -> bytes:
    """Draws the network at every step, with the average reward so far below it; a GIF of as many frames as steps.

    places [n, 2], edges [E, 2]. steps: states, actions, rewards [K, n]. names: of states, of actions; empty where there are
    too many for a legend: states are colored by number then, actions all look the same.
    """
    (s, a, r), (states, actions) = steps, names
    frames = _frames(places, edges, s, a, r, states, actions)
    content = io.BytesIO()
    next(frames).save(content, format="GIF", save_all=True, append_images=frames, duration=250, loop=0)
    return content.getvalue()


def reward_shades(r: np.ndarray) -> np.ndarray:
    """Puts rewards on the scale of `REWARDS`: -1 the largest loss that occurs, 1 the largest gain. Shapes: any, kept."""
    gain, loss = max(float(r.max()), 0.0) or 1.0, max(float(-r.min()), 0.0) or 1.0
    return np.where(r > 0, r / gain, r / loss)


def _frames(
    places: np.ndarray,
    edges: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    r: np.ndarray,
    states: list[str],
    actions: list[str],
) -> Iterator[Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.markers import MarkerStyle
    from PIL import Image

    figure = Figure(figsize=(9, 6.5), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    network, curve = figure.subplots(2, 1, height_ratios=(5, 1))
    network.add_collection(LineCollection(list(places[edges]), colors="0.75", linewidths=0.8, zorder=1))
    size = np.clip(9000 / len(places), 15, 350)
    last = max(len(states) - 1, int(s.max()))
    dots = network.scatter(*places.T, c=s[0], s=size, cmap="viridis", vmin=0, vmax=last, linewidths=size**0.5 / 6, zorder=2)
    network.set_aspect("equal", adjustable="datalim")
    network.margins(0.1)
    network.set_axis_off()
    marks = [MarkerStyle(mark) for mark in MARKS[: len(actions)] or MARKS[:1]]
    paths = [mark.get_path().transformed(mark.get_transform()) for mark in marks]
    outlines = LinearSegmentedColormap.from_list("rewards", REWARDS)(Normalize(-1.0, 1.0)(reward_shades(r)))
    for name, color in zip(states, dots.to_rgba(np.arange(len(states))), strict=True):
        network.scatter([], [], color=color, label=_plain(name))
    for name, mark in zip(actions, marks, strict=False):
        network.scatter([], [], color="0.5", marker=mark, label=_plain(name))
    if not states:
        figure.colorbar(dots, ax=network, label="state")
    for name, color in zip(("below 0", "0", "above 0"), REWARDS, strict=True):
        network.scatter([], [], color="white", edgecolors=color, linewidths=2, label=f"reward {name}")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    at, each = np.arange(1, len(r) + 1), r.mean(axis=1)
    curve.plot(at, np.cumsum(each) / at, color="#08519c", marker="" if len(r) > 1 else "o")
    curve.set(xlabel="step", ylabel="average\nreward so far", xlim=(0, len(r) + 1))
    cursor = curve.axvline(1, color="black", linewidth=1)
    for k in range(len(r)):
        dots.set_array(s[k])
        dots.set_edgecolors(outlines[k])
        dots.set_paths([paths[action if actions else 0] for action in a[k]])
        cursor.set_xdata([k + 1, k + 1])
        network.set_title(f"step {k + 1} of {len(r)}")
        canvas.draw()
        figure.set_layout_engine("none")  # it stays where the first frame put it
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()).quantize(64)


def _plain(name: str) -> str:
    """Keeps matplotlib from reading formulas in a name, and from leaving out one that begins with an underscore."""
    return " " * name.startswith("_") + name.replace("$", r"\$")
