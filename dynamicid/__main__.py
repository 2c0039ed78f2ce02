"""``python -m dynamicid``: convert, inspect and download weight files."""

import sys
from os import environ


def main() -> None:
    """Runs the command line; says what to install where its library is missing."""
    # The libraries of Hugging Face read it when they are imported.
    environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
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
