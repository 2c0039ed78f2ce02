"""Reads a pickle's instructions without following them: what would it call, and how large are its numbers?

``torch.load(weights_only=True)`` refuses foreign calls too; looking first lets the message name the call, and bounds
what a hostile file can make the loader allocate.
"""

import io
import pickletools
from collections.abc import Iterator

TENSOR_NAMES = frozenset(
    {
        "collections.OrderedDict",
        "torch.Size",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch.storage.UntypedStorage",
    }
    | {f"torch.{kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char")}
    | {f"torch.{kind}Storage" for kind in ("Byte", "Bool", "ComplexFloat", "ComplexDouble")}
    | {f"torch.float8_{kind}" for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")}
)
"""The names a pickle of plain tensors may use; every other name counts as code."""

CALLING_OPCODES = frozenset({"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"})
STRING_OPCODES = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
FAILURES = (ValueError, KeyError, IndexError, TypeError, OverflowError, UnicodeDecodeError, EOFError)


class ForeignCode(Exception):
    """The pickle asks for ``name``, which is more than a tensor needs."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class NotAPickle(Exception):
    """The bytes end early or are no pickle."""


def scan_pickles(data: bytes, stream_count: int, largest_number: int) -> None:
    """Checks the first ``stream_count`` pickles that lie end to end in ``data``.

    Args:
        data: The pickles, possibly followed by other bytes.
        stream_count: How many of them to check.
        largest_number: Whole numbers above it (sizes, counts) are refused in the last two streams' objects; a legacy
            file opens with a magic number, so streams before the fourth are exempt.

    Raises:
        ForeignCode: A name outside ``TENSOR_NAMES``.
        NotAPickle: Broken instructions, or a size that no such file can hold.
    """
    stream = io.BytesIO(data)
    for index in range(stream_count):
        limit = largest_number if stream_count == 1 or index >= 3 else None
        _scan_one(stream, limit)


def _scan_one(stream: io.BytesIO, limit: int | None) -> None:
    strings: list[str] = []
    for opcode, argument in _instructions(stream):
        if opcode == "GLOBAL":
            _require_tensor_name(str(argument).replace(" ", "."))
        elif opcode == "STACK_GLOBAL":
            _require_tensor_name(".".join(strings[-2:]) or "an object")
        elif opcode in CALLING_OPCODES:
            raise ForeignCode(str(argument).replace(" ", ".") if argument is not None else "a class")
        elif opcode in STRING_OPCODES:
            strings = [*strings[-1:], str(argument)]
        elif limit is not None and isinstance(argument, int) and argument > limit:
            raise NotAPickle(f"it declares {argument:.3g} values" if argument < 1e300 else "it declares absurd sizes")


def _require_tensor_name(name: str) -> None:
    if name not in TENSOR_NAMES:
        raise ForeignCode(name)


def _instructions(stream: io.BytesIO) -> Iterator[tuple[str, object]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except FAILURES as error:
        raise NotAPickle("it breaks off or is damaged") from error
