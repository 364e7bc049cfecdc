"""A policy to begin with: it allows nothing until its owner takes the comment signs away."""

from __future__ import annotations

import json
from collections.abc import Sequence

_TEXT = """\
# The policy of this node: what may run here, and on which data. Whatever no table allows is refused.
# `comity node policy check job.json` says, line by line, what this file makes of a job.
#
# Each [[allow]] table allows the jobs that satisfy ALL of its lines. A line that is left out does not matter, but for
# `source`, and for `datasets` and one of `program` and `jobs`, which are never left out.

# [[allow]]
# name = "averaging, gently"           # for you: it stands in the lines of a verdict
# program = "FedAvg"                   # or a list of names, or jobs = ["the id that `comity explain` prints"]
# datasets = {datasets}
# submitters = ["analyst"]                 # who may send such jobs: names of the roster
# columns = ["age", "outcome"]         # no others are read
# min_parties = 3                      # the least number of parties in the run and in a round
# min_rows = 100                       # the least number of rows of ours: few rows are told from a model most easily
# source = "none"                      # "approved": also code of the submitter's that you have read and approved
# "local.lr" = {{max = 0.5}}             # values of the job, by their path in its manifest; paths need the quotes
# "local.epochs" = {{min = 1, max = 5}}
# "rounds.count" = {{max = 100}}
# "rounds.quorum" = {{min = 3}}          # a round that fewer parties have answered does not count
# secure_sum = "required"              # the server sees sums over parties, never our own update
# dp = "required"                      # differential privacy
# seconds = 600                        # the longest that one task may take
# memory_mb = 4000                     # the most memory that it may have
# bytes_up = 100_000_000               # the most that may leave in a round
# rounds_per_day = 200                 # on one data set, all jobs together

# With this table, jobs that no table allows and that satisfy its lines wait for you: `comity node requests list`.
# It takes the same lines; an empty one lets every job wait.
# [ask]
# datasets = {datasets}
# min_parties = 3
"""


def starter(datasets: Sequence[str]) -> str:
    """The text of a first `policy.toml` for a node with these data sets: every table explained, none in force."""
    return _TEXT.format(datasets=json.dumps(list(datasets) or ["name-of-a-data-set"]))
