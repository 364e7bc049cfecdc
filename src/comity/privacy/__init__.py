"""Differential privacy: what is released, what it costs, and where the noise comes from."""
