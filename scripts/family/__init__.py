"""Trains the small model family in `drawn_family/` from nothing, on the drawn world of `dynamicid.training`."""
