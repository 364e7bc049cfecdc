"""What travels between parties and the server: messages, vectors as bytes, signatures, limits."""
