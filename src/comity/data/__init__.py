"""Data: what parties hold. Data sets, partitions, data of one's own, checks, and how far parties differ."""

from comity.data.arrays import from_arrays, from_huggingface, from_torch
from comity.data.card import Card
from comity.data.catalogue import catalogue
from comity.data.checks import check_examples, check_party
from comity.data.columns import PartyColumn
from comity.data.dataset import Dataset
from comity.data.encode import Encoder
from comity.data.examples import Affine, Examples, FederatedData, PartyData, PartyNames
from comity.data.folder import from_folder
from comity.data.frames import from_frame
from comity.data.heterogeneity import Heterogeneity, describe
from comity.data.lazy import Lazy
from comity.data.load import load
from comity.data.parties import Parties, hold_out
from comity.data.partitions import (
    IID,
    Assignment,
    Dirichlet,
    FeatureShift,
    LabelCount,
    Natural,
    Partition,
    QuantityLogNormal,
    QuantityPowerLaw,
    Shards,
)
from comity.data.text import from_text

__all__ = [
    "IID",
    "Affine",
    "Assignment",
    "Card",
    "Dataset",
    "Dirichlet",
    "Encoder",
    "Examples",
    "FeatureShift",
    "FederatedData",
    "Heterogeneity",
    "LabelCount",
    "Lazy",
    "Natural",
    "Parties",
    "Partition",
    "PartyColumn",
    "PartyData",
    "PartyNames",
    "QuantityLogNormal",
    "QuantityPowerLaw",
    "Shards",
    "catalogue",
    "check_examples",
    "check_party",
    "describe",
    "from_arrays",
    "from_folder",
    "from_frame",
    "from_huggingface",
    "from_text",
    "from_torch",
    "hold_out",
    "load",
]
