"""Secure sums: the coordinator learns the sum of the contributions and nothing else."""
