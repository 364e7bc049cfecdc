"""The round as a state machine: no I/O, no clock, no randomness of its own."""

from comity.coordination.buffered import Buffered
from comity.coordination.coordinator import Coordinator
from comity.coordination.synchronous import Rounds

__all__ = ["Buffered", "Coordinator", "Rounds"]
