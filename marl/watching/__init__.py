"""A network under a policy is recorded step by step and shown: as a page that plays it, or as a moving picture."""

from marl.watching.movie import gif_movie
from marl.watching.page import html_page
from marl.watching.recording import Recording, record
from marl.watching.scene import Scene, scene_of

__all__ = ["Recording", "Scene", "gif_movie", "html_page", "record", "scene_of"]
