"""Budgeted search over recipes, and the artifacts that it yields."""
