"""The one graph: loading, verification, passes, units and the NumPy reference executor."""
