"""Training: what is needed to train the networks, and nothing that a node needs."""
