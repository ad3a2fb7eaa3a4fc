"""A moving picture is drawn by matplotlib."""

from marl.core.errors import ConfigError
from marl.plotting import NoPictureError, network_movie
from marl.watching.recording import Recording
from marl.watching.scene import Scene


def gif_movie(scene: Scene, recording: Recording) -> bytes:
    """Draws a GIF of as many frames as steps. Errors: `ConfigError` if it cannot be drawn, for one without matplotlib."""
    try:
        return network_movie(scene.places, scene.edges, recording, (scene.states, scene.actions))
    except NoPictureError as error:
        raise ConfigError(str(error)) from None
