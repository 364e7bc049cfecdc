"""The errors of secure sums: each names the step that refused, and why."""

from __future__ import annotations

from comity.core.errors import ComityError


class SecureSumError(ComityError):
    """Base of what goes wrong in a secure sum."""


class MessageError(SecureSumError):
    """Bytes that are no message of the protocol, or a message with a value out of bounds."""


class TermsError(SecureSumError):
    """Terms that contradict themselves: no round can be held under them."""


class RosterError(SecureSumError):
    """A roster with an entry twice, or a participant that is not in it."""


class RefusalError(SecureSumError):
    """A participant does not take part: the announcement, the roster, the committee, the model or its floors do not
    fit.
    """


class PromiseError(SecureSumError):
    """A promise would be broken: a round that was already answered, or a second set for one round."""


class SetError(SecureSumError):
    """A set of parties that no helper or member signs: listed twice, too few, too many, alive and dropped at once."""


class SealError(SecureSumError):
    """A sealed box that does not open, or holds something else than it should."""


class CertificateError(SecureSumError):
    """A vote or a certificate that does not hold."""


class UploadError(SecureSumError):
    """A party's message that the coordinator or a helper does not take."""


class AnswerError(SecureSumError):
    """An answer of a helper or member that does not hold."""


class OrderError(SecureSumError):
    """A step that is not due: too early, too late, or a second time."""


class QuantisationError(SecureSumError):
    """A vector that cannot be put on the grid, or a sum that cannot be one of vectors on it."""


class AbortError(SecureSumError):
    """The attempt is over without a sum, and without anything having been revealed that is not the sum of a certified
    set.
    """
