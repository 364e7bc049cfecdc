"""How many rounds were done today on each data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from comity.core.errors import ConfigError
from comity.core.files import replace_file


class DayCounter:
    """Counts in `<home>/rounds.json`, which holds one day (UTC). Work that is done twice after a crash counts twice."""

    def __init__(self, home: Path, now: Callable[[], float]) -> None:
        self._file = home / "rounds.json"
        self._now = now

    def today(self, dataset: str) -> int:
        """The rounds counted today. Raises `ConfigError` for a file that is not the counter's: then nothing may run."""
        return self._counts().get(dataset, 0)

    def count(self, dataset: str) -> int:
        """Count one more round, before it is begun; returns how many it are now."""
        counts = self._counts()
        counts[dataset] = counts.get(dataset, 0) + 1
        text = json.dumps({"day": self._day(), "rounds": counts})
        replace_file(self._file, text.encode(), mode=0o600)
        return counts[dataset]

    def _counts(self) -> dict[str, int]:
        try:
            kept = json.loads(self._file.read_bytes())
            counts = {str(name): int(count) for name, count in kept["rounds"].items()}
            return counts if kept["day"] == self._day() else {}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            what = "this is not the count of today's rounds"
            raise ConfigError(what, where=str(self._file), mend="remove the file; the count begins anew") from None

    def _day(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).date().isoformat()
