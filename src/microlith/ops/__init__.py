"""One file for each op: attributes, shape rule, MACs, NumPy reference."""
