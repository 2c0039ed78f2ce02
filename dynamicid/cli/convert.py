"""``convert``: published weight files into one safetensors file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..checkpoints.combined import DTYPES, gather_tensors, save_combined
from ..checkpoints.inspection import inspect_network
from ..checkpoints.weights import find_parts, load_weights
from .output import console, network_table, plain_errors, readable_size


@plain_errors
def convert(
    saa: Annotated[Path, typer.Argument(metavar="SAA", help="SAA.bin (or another accepted SAA file).")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The .safetensors file to write.")],
    imr: Annotated[Path | None, typer.Option(metavar="FILE", help="IMR.bin, to edit expressions and poses.")] = None,
    keypoints: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key-point encoder; by default the one beside the IMR.")
    ] = None,
    dtype: Annotated[
        Literal["keep", "fp32", "fp16", "bf16"], typer.Option(help="Number format; 'keep' changes nothing.")
    ] = "keep",
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUTPUT.")] = False,
) -> None:
    """Put the published files into one safetensors file."""
    if keypoints is not None and imr is None:
        raise typer.BadParameter("--keypoints needs --imr.")
    out = console()
    with console(stderr=True).status("Reading and checking ..."):
        load_weights(saa, imr, keypoints)
        parts = find_parts(saa, imr, keypoints)
        reports = [inspect_network(part) for part in parts.values()]
    out.print(network_table(reports))
    with console(stderr=True).status("Writing and comparing ..."):
        save_combined(output, gather_tensors(parts, DTYPES.get(dtype)), force)
        load_weights(output, output if imr is not None else None)
    size = readable_size(output.stat().st_size)
    out.print(f"Wrote {output} ({size}); read back and compared, bit for bit.", markup=False)
