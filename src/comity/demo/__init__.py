"""The demo: digits over 40 parties, beside training on pooled data and training alone."""
