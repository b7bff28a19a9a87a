"""The typed, frozen result of planning: everything below the graph is written against it."""
