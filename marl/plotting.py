"""Pictures are drawn here, in the only module that imports matplotlib, with the first picture.

A picture is an extra: whatever keeps it from being drawn is a `NoPictureError`, a sentence to print in its place.
"""

import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import numpy as np

from marl.core.environment import Environment
from marl.graphs import layout

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
        axes.plot(shown, marker="o", markersize=4, label=heading)
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
def learning_curves(curves: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> bytes:
    """Draws lines with bands, (label, steps, middle, low, high) each, shapes [L]; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for label, steps, middle, low, high in curves:
        (line,) = axes.plot(steps, middle, label=label)
        axes.fill_between(steps, low, high, alpha=0.2, linewidth=0, color=line.get_color())
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
