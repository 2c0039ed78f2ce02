"""Errors can always be shown, and ranges have no holes."""

import pickle

import pytest

from dynamicid.errors import DynamicIDError, check_range


def test_what_utf_8_cannot_hold_is_escaped():
    error = DynamicIDError("caf\udce9.bin", "Found \ud83d.", "Rename it, Zoë.")
    str(error).encode("utf-8")
    assert str(error) == "caf\\udce9.bin: Found \\ud83d. Rename it, Zoë."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.01])
def test_out_of_range(value: float):
    check_range("weight", 1, 0, 1)
    with pytest.raises(DynamicIDError, match=r"^weight: .* is out of range\. Use 0 to 1\."):
        check_range("weight", value, 0, 1)
