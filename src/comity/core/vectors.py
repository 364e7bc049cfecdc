"""Named flat vectors: what travels between the server and a party."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from comity.core.arrays import Array


class Vectors(Mapping[str, Array]):
    """An immutable set of named arrays, read as attributes: `sent.weights`, `sent.control`.

    On the way to a party each array is `[D]`; on the way back it is `[K, D]`, one row a party.
    """

    __slots__ = ("_arrays",)

    def __init__(self, **arrays: Array) -> None:
        object.__setattr__(self, "_arrays", dict(arrays))

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __getattr__(self, name: str) -> Array:
        try:
            return object.__getattribute__(self, "_arrays")[name]
        except KeyError:
            raise AttributeError(f"no vector {name!r} here; there are: {', '.join(self._arrays) or 'none'}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Vectors are immutable; build new ones")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"Vectors({', '.join(f'{name}={tuple(array.shape)}' for name, array in self._arrays.items())})"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self._arrays,)

    def map(self, function: Callable[[Array], Array]) -> Vectors:
        """The same names with `function` applied to each array."""
        return Vectors(**{name: function(array) for name, array in self._arrays.items()})


def _rebuild(arrays: dict[str, Array]) -> Vectors:
    return Vectors(**arrays)
