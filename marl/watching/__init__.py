"""A network under a policy is recorded step by step and shown: as a page that plays it, or as a moving picture."""

from marl.watching.page import page
from marl.watching.recording import Recording, record
from marl.watching.scene import Scene, scene

