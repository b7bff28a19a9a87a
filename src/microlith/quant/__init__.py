"""The one integer arithmetic: schemes, observers, requantization and every quantized op, as NumPy."""
