"""What must outlive a process: the journal in a database, and blobs in an object store."""
