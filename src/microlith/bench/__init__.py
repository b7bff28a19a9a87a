"""What an artifact does with its time, layer by layer."""
