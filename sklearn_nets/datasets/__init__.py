"""Data: made here, or read from files."""

from ._digit_scenes import make_digit_scenes

__all__ = ["make_digit_scenes"]
