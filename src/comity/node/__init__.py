"""The agent of a party: it obeys its owner's policy, keeps the data, and talks outbound only."""
