"""Evidence into one self-contained HTML page, and terminal tables of the same."""
