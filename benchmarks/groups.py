"""What repainting a group costs: three people cut out, repainted and pasted back, against plain sampling of crops.

    python benchmarks/groups.py [--size 512] [--steps 4] [--rounds 1]

Full-size SD1.5 and its VAE with weights by rule, the stand-in face finder. Both variants encode, sample and decode as
many crops of the same size; what the repainted ones add is finding and cutting people, the patch, and pasting. Writes
``benchmarks/groups.json``; ``benchmarks/report.py`` puts it on the page.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.run import Bench, summary  # noqa: E402
from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

RESULT = ROOT / "benchmarks" / "groups.json"
PEOPLE = 3
BOXES = [(60, 120, 212, 320), (300, 100, 500, 364), (580, 160, 700, 318)]
"""Face boxes, left, top, right, bottom, in a picture of 768 x 512 pixels."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the crops in pixels")
    parser.add_argument("--steps", type=int, default=4, help="sampling steps of each crop, from half of the noise")
    parser.add_argument("--rounds", type=int, default=1, help="counted rounds, after one that warms up")
    parser.add_argument("--here", action="store_true", help="use this Python as it is; make no environment")
    return parser.parse_args()


def _variants(world: Any, size: int, steps: int) -> dict[str, Callable[[], Any]]:
    """Plain sampling of crops, and a group repainted through the nodes' own functions."""
    torch = world.torch
    files = importlib.import_module("tests.standin.host_files")
    onnx_pack = importlib.import_module("tests.standin.onnx_pack")
    rule = importlib.import_module("tests.standin.rule")
    crops = importlib.import_module("dynamicid.host.crops")
    sampling = importlib.import_module("comfy.sample")
    region_type = importlib.import_module("dynamicid.faces.regions").Region
    whole = importlib.import_module("dynamicid.attention.people").WHOLE_PICTURE
    with tempfile.TemporaryDirectory() as folder:
        files.write_checkpoint(Path(folder) / "small.safetensors", files.mini_unet_shapes())
        vae = importlib.import_module("comfy.sd").load_checkpoint_guess_config(str(Path(folder) / "small.safetensors"))[
            2
        ]
        onnx_pack.write_onnx_pack(Path(folder) / "pack")
        analyzer = importlib.import_module("dynamicid.faces.analysis").load_face_analysis(Path(folder) / "pack", "CPU")
    picture = torch.from_numpy(onnx_pack.draw_test_faces((512, 768), BOXES)).float()[None] / 255
    places = [(left / 768, top / 512, (right - left) / 768, (bottom - top) / 512) for left, top, right, bottom in BOXES]
    people = world.regions(places)
    texts = [[[rule.rule_input(f"bench.text.{n}", (1, 77, 768)), {"pooled_output": None}]] for n in range(2)]

    def repaint(model: Any, crop: Any) -> Any:
        latent = vae.encode(crop)
        noise = sampling.prepare_noise(latent, 0)
        half = {"denoise": 0.5, "disable_pbar": True, "seed": 0}
        return vae.decode(sampling.sample(model, noise, steps, 5.0, "euler", "normal", *texts, latent, **half))

    def plain() -> list[Any]:
        crop = torch.nn.functional.interpolate(picture[..., :512, :].movedim(-1, 1), (size, size)).movedim(1, -1)
        with torch.inference_mode():
            return [repaint(world.plain, crop) for _ in range(PEOPLE)]

    def repainted() -> Any:
        with torch.inference_mode():
            cut = crops.crop_people(analyzer, picture, people, "place", size, 1.0, "a portrait of a person")
            painted = []
            for crop, face in zip(cut[0], cut[1], strict=True):
                alone = (region_type(face, whole),)
                model, _ = world.apply.apply_dynamicid(world.merged, world.weights, alone, world.apply.ApplyOptions())
                painted.append(repaint(model, crop))
            if len(painted) != PEOPLE:
                raise AssertionError(f"{len(painted)} of {PEOPLE} people were found.")
            return crops.paste_crops(painted, cut[4], 0.15, True)

    return {"plain": plain, "repainted": repainted}


def main() -> None:
    """Measures and writes the JSON."""
    arguments = _arguments()
    if not arguments.here:
        relaunch_in_environment()
    bench = Bench()
    variants = _variants(bench.world, arguments.size, arguments.steps)
    peaks = {name: bench.peak_mebibytes(run) for name, run in variants.items()}
    times = summary(bench.interleaved(variants, arguments.rounds), "plain")
    result = {
        "people": PEOPLE,
        "size": arguments.size,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "threads": bench.torch.get_num_threads(),
        "comfyui": bench.world.host_version,
        **{name: {**times[name], "peak_mib": peaks[name]} for name in variants},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    row = result["repainted"]
    print_line(
        f"x {row['ratio']:.3f} of plain crops, CPU time x {row['cpu_ratio']:.3f}, peak {row['peak_mib']:.0f} MiB"
    )


if __name__ == "__main__":
    main()
