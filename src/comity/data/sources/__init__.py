"""Where the data sets of the catalogue come from: installed packages, and files that the user has."""
