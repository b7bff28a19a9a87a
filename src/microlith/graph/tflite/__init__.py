"""Import of ``.tflite`` files: a bounds-checked reader, and one file for each family of operators."""
