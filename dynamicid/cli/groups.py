"""Groups of commands one of which is meant when none is named."""

from collections.abc import Sequence

from typer.core import TyperGroup


class RunByDefault(TyperGroup):
    """``curate PHOTOS ...`` is ``curate run PHOTOS ...``."""

    def parse_args(self, ctx, args: Sequence[str]) -> list[str]:
        words = list(args)
        if words and words[0] not in (*self.commands, "-h", "--help"):
            words = ["run", *words]
        return super().parse_args(ctx, words)
