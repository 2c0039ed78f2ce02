"""The one error type whose text is written for the person at the canvas."""


class DynamicIDError(ValueError):
    """Something the user can correct.

    Args:
        where: Id of the node input, or the file, the error belongs to.
        found: What was found there, as a full sentence.
        remedy: What to do about it, as a full sentence.
    """

    def __init__(self, where: str, found: str, remedy: str) -> None:
        super().__init__(f"{where}: {found} {remedy}")
        self.where = where
        self.found = found
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["DynamicIDError"], tuple[str, str, str]]:
        return type(self), (self.where, self.found, self.remedy)
