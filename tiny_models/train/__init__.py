"""Trains the networks in `tiny_models/weights/` from nothing, on the pictures of `dynamicid.synthetic`."""
