"""A Flower app whose clients answer at once."""
