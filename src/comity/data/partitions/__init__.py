"""Partitions: rules that give every example of a data set to one party."""

from comity.data.partitions.base import Assignment, Partition
from comity.data.partitions.labels import Dirichlet, LabelCount, Shards
from comity.data.partitions.natural import Natural
from comity.data.partitions.plain import IID, FeatureShift
from comity.data.partitions.quantity import QuantityLogNormal, QuantityPowerLaw

__all__ = [
    "IID",
    "Assignment",
    "Dirichlet",
    "FeatureShift",
    "LabelCount",
    "Natural",
    "Partition",
    "QuantityLogNormal",
    "QuantityPowerLaw",
    "Shards",
]
