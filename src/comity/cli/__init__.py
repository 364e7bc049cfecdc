"""The command `comity`."""

from comity.cli.app import main

__all__ = ["main"]
