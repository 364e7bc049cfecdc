"""What goes wrong with who is who."""

from __future__ import annotations

from comity.core.errors import ComityError


class IdentityError(ComityError):
    """A key, a certificate, an invitation or a roster that cannot be trusted or used."""
