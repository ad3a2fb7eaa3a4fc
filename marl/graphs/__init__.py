"""Graphs as they come: from a rule, or from a file. `marl.Network` is what they become."""
