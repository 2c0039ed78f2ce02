"""A small Stable Diffusion with its own DynamicID and face networks, for the tests and the demo."""
