"""The one error type whose text is written for the person at the canvas."""


class DynamicIDError(ValueError):
    """Something the user can correct. What UTF-8 cannot hold, as in names of files, is escaped: it must be shown.

    Args:
        where: Id of the node input, or the file, the error belongs to.
        found: What was found there, as a full sentence.
        remedy: What to do about it, as a full sentence.
    """

    def __init__(self, where: str, found: str, remedy: str) -> None:
        self.where, self.found, self.remedy = map(_printable, (where, found, remedy))
        super().__init__(f"{self.where}: {self.found} {self.remedy}")

    def __reduce__(self) -> tuple[type["DynamicIDError"], tuple[str, str, str]]:
        return type(self), (self.where, self.found, self.remedy)


def check_range(where: str, value: float, low: float, high: float) -> None:
    """``value`` is a number from ``low`` to ``high``.

    Raises:
        DynamicIDError: It is not; NaN is none.
    """
    if not low <= value <= high:
        raise DynamicIDError(where, f"{value} is out of range.", f"Use {low:g} to {high:g}.")


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
