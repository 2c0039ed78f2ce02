"""Box types, named by the order of their four numbers and by their unit."""

BoxXywhNorm = tuple[float, float, float, float]
"""x, y, width, height as shares of the picture, 0 to 1; origin top left."""

BoxXyxyPx = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; origin top left."""
