"""Multi-party protocols as named roles without I/O."""
