"""Graphs as they come: from a rule, by name, or from a file. `marl.Network` is what they become."""
