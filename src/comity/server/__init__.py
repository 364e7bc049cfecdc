"""The server of a deployment: it coordinates runs, takes contributions and loses nothing that it has acknowledged."""
