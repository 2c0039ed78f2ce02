"""``python -m dynamicid``: convert, inspect and download weight files."""

import sys


def main() -> None:
    """Runs the command line; says what to install where its library is missing."""
    try:
        from .cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(
            f"The command line needs '{error.name}'. Install it with: python -m pip install typer rich huggingface_hub"
        )
    app(prog_name="python -m dynamicid")


if __name__ == "__main__":
    main()
