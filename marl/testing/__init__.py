"""Contract kits: what a part owes, the library's or a user's, held against its definition."""

from marl.testing.fused_step import check_fused_step, random_inputs

__all__ = ["check_fused_step", "random_inputs"]
