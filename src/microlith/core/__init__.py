"""Evidence, budgets, units, errors and randomness: what every layer shares."""
