"""Compiled loops on plain arrays. Nothing here knows the rest of the library."""
