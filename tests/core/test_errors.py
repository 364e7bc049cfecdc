"""Errors: what, where, and the mend; they survive a process boundary."""

import pickle

from comity.core.errors import ConfigError, MissingDependency, Reason, Rejection


def test_an_error_says_where_what_and_the_mend() -> None:
    error = ConfigError("quorum is 9", where="job.rounds.quorum", mend="give at most 8")
    assert str(error) == "job.rounds.quorum: quorum is 9\n  → give at most 8"


def test_a_missing_dependency_says_what_to_install() -> None:
    error = MissingDependency.of("pandas", "frames", "a history as a DataFrame")
    assert 'pip install "comity[frames]"' in str(error)


def test_an_error_from_a_worker_process_arrives_whole() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("a", where="b", mend="c")))
    assert (type(error), error.what, error.where, error.mend) == (ConfigError, "a", "b", "c")


def test_a_rejection_names_party_round_and_reason() -> None:
    assert str(Rejection("p3", 7, Reason.NOT_FINITE, "2 entries")) == "party p3, round 7: not finite: 2 entries"
