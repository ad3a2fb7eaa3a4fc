"""Networked multi-agent reinforcement learning. What can be imported from here stands in `__init__.pyi`.

Names are imported on first use, so that `marl --help` need not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
