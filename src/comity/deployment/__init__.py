"""The federation of real parties, as a user of the library sees it."""
