"""Loaders, the three-way split, preprocessing and metrics."""
