"""Microlith: a trained network and a device in, the smallest and fastest program that still does the job out."""

from __future__ import annotations

__version__ = "0.1.0"
