"""Number formats: bfloat16 where the processor computes fast in it, else float32."""

import torch


def computes_bfloat16() -> bool:
    """Whether this processor has AVX-512; without it torch computes bfloat16 many times slower than float32."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def mixed_precision(device_type: str = "cpu") -> torch.autocast:
    """Autocast to bfloat16 where that is faster."""
    return torch.autocast(device_type, torch.bfloat16, enabled=device_type != "cpu" or computes_bfloat16())
