"""From graph to C: lower, select, order, arena, emit, package."""
