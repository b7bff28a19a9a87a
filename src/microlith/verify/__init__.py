"""The executors against each other, and the figures that running an artifact gives."""
