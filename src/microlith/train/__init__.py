"""What needs torch: modules and exported programs into the one graph."""
