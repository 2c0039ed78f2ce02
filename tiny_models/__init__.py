"""A small Stable Diffusion with its own DynamicID and face networks, for the tests and the demo."""

# Before insightface: the package switches the telemetry of onnxruntime off.
import dynamicid  # noqa: F401
