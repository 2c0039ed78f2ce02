"""Makes ``benchmarks/README.md`` and its plot from the JSON files in ``benchmarks/results``.

python benchmarks/report.py [--here]     (--here: use this Python as it is; make no environment)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from benchmarks.canvas import HOSTS, WITH, WITHOUT  # noqa: E402
from benchmarks.curation_scale import SIZE  # noqa: E402
from scripts._bootstrap import print_line, relaunch_in_environment  # noqa: E402

SCALED_TO = 10_000_000
INTRODUCTION = """# Benchmarks

One UNet step of full-size Stable Diffusion 1.5 (weights by the golden rule, positive and negative in one call),
patched by Apply DynamicID against unpatched. All variants are in one process and take turns; a ratio compares runs
of the same round, and the table gives the median over the rounds with the range in brackets. "Peak" is the highest
memory during a step on top of what is held before it: torch's own count on a GPU, resident memory on a CPU. "CPU
time" is the ratio of CPU seconds, which other programs on a shared machine do not stretch. "Held"
is what a patch keeps on the device: identity keys and values of all layers, and the places at all grids.

- *boxes*, *masks*: this pack, people in boxes or in soft masks, gate on, layout strength 2 (0 with one person).
- *published algorithm*: a score tensor per layer, text attention twice, identity projections at every step, LoRA
  unmerged (`benchmarks/naive.py`; the tests hold it equal to the pack's output).
- *chained IP-Adapters*: cubiq's IPAdapter_plus, one adapter a person with 4 tokens and a mask, on the unpatched
  model.

`python benchmarks/run.py --out benchmarks/results/NAME.json` measures, `python benchmarks/report.py` writes this
page.
"""


def _machine(report: dict[str, Any]) -> str:
    return (
        f"{report['device']}, {report['threads']} threads, {report['dtype']}, torch {report['torch']}, "
        f"ComfyUI {report['comfyui']}"
    )


def _table(report: dict[str, Any]) -> list[str]:
    lines = [
        "| px | people | rounds | variant | seconds | x unpatched | CPU time | peak MiB | held MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in report["steps"]:
        for name, row in case["variants"].items():
            ratio = (
                "1" if name == "unpatched" else f"{row['ratio']:.3f} ({row['ratio_min']:.3f} to {row['ratio_max']:.3f})"
            )
            own = name in ("boxes", "masks")
            held = f"{case['held_mib']['identity']:.1f} + {case['held_mib']['places']:.1f}" if own else ""
            lines.append(
                f"| {case['size']} | {case['people']} | {case['rounds']} | {name} | {row['seconds']:.3f} | {ratio} | "
                f"{row['cpu_ratio']:.3f} | "
                f"{row['peak_mib']:.0f} | {held} |"
            )
    return lines


def _canvas(result: dict[str, Any]) -> list[str]:
    frames = result["frames"]
    return [
        "## Canvas",
        "",
        f"`benchmarks/canvas.py` in headless Chromium without a GPU, {result['cores']} CPU cores.",
        "",
        f"- Motion preview, from the slider's event to the new drawing, {result['events']} events: median "
        f"{result['median_ms']:.0f} ms, 95 % within {result['p95_ms']:.0f} ms, longest {result['max_ms']:.0f} ms.",
        f"- A graph with five Region Editors and five Motion Sliders, dragged about: {frames[WITH]:.0f} "
        f"frames a second, {frames[WITHOUT]:.0f} with the same nodes at the same size without the pack's scripts "
        f"(ratio {result['frame_ratio']:.2f}), {frames[HOSTS]:.0f} with ten of ComfyUI's own text nodes (ratio "
        f"{result['frame_ratio_to_the_hosts_widgets']:.2f}). Of a frame's time the pack's own functions take "
        f"{result['our_scripts_ms_per_frame']:.2f} ms; the rest is what the browser and ComfyUI do with its widgets.",
        "",
    ]


def _groups(result: dict[str, Any]) -> list[str]:
    row, plain = result["repainted"], result["plain"]
    return [
        "## Repainting a group",
        "",
        f"`benchmarks/groups.py`: {result['people']} people found, cut out at {result['size']} px, encoded, sampled "
        f"with {result['steps']} steps each, decoded and pasted back, against as many plain crops encoded, sampled and "
        f"decoded with the same number of steps; {result['threads']} threads, ComfyUI {result['comfyui']}, stand-in "
        "face finder.",
        "",
        f"- {row['seconds']:.0f} s against {plain['seconds']:.0f} s: x {row['ratio']:.3f}, CPU time x "
        f"{row['cpu_ratio']:.3f}; peak {row['peak_mib']:.0f} MiB against {plain['peak_mib']:.0f} MiB.",
        "",
    ]


def _motions(result: dict[str, Any]) -> list[str]:
    lines = [
        "## A motion for each picture",
        "",
        f"`benchmarks/motions.py`: one step of {result['motions']} pictures at {result['size']} px, one person, with "
        f"{result['motions']} motions and with one; {result['threads']} threads, {result['rounds']} rounds, ComfyUI "
        f"{result['comfyui']}. Held: identity keys and values.",
        "",
        "| motions | seconds | x one motion | CPU time | peak MiB | held MiB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['seconds']:.0f} | {row['ratio']:.3f} ({row['ratio_min']:.3f} to {row['ratio_max']:.3f}) | "
        f"{row['cpu_ratio']:.3f} | {row['peak_mib']:.0f} | {row['held_mib']:.1f} |"
        for name, row in result["variants"].items()
    ]
    return [*lines, ""]


def _training(result: dict[str, Any]) -> list[str]:
    stages = {"saa": "an image", "imr": f"a person (targets through the UNet: {result['targets']})"}
    checkpointing = ", gradient checkpointing" if result["checkpointing"] else ""
    lines = [
        "## Training",
        "",
        f"`benchmarks/training.py`: {result['steps']} steps of each stage on the full SD1.5 layout, weights by rule, "
        f"{result['size']} px, mixed precision {result['precision']}{checkpointing}, {result['machine']}, "
        f"torch {result['torch']}.",
        "",
    ]
    for stage, unit in stages.items():
        row = result[stage]
        checked = row["losses_are_finite"] and row["frozen_weights_are_bit_identical"]
        outcome = "losses finite, the UNet's weights bit-identical afterwards" if checked else "NOT as it should be"
        lines.append(
            f"- {stage}: {row['seconds_a_step']:.1f} s for {unit}, at most {row['peak_gigabytes']:.1f} GB; {outcome}."
        )
    return [*lines, ""]


def _caching(result: dict[str, Any]) -> list[str]:
    names = list(result["rows"][0]["shares"])
    waits = max(row["network_ms"] for row in result["rows"])
    lines = [
        "## Caching",
        "",
        f"`benchmarks/caching.py`: `cache saa` of {result['photos']:,} photos of {result['size']} px in "
        f"{result['processes']} processes on {result['cores']} CPU cores, stand-in networks; without workers each "
        f"process reads photos and finds faces itself. *Elsewhere*: instead of the VAE a wait of {waits:.0f} ms for a "
        "photo, as if an accelerator were at work. *A photo* and shares: time of the first process.",
        "",
        f"| networks | workers | seconds in all | a photo, ms | {' | '.join(names)} |",
        "|---" * (4 + len(names)) + "|",
    ]
    for row in result["rows"]:
        place = "elsewhere" if row["network_ms"] else "on the same cores"
        shares = " | ".join(f"{row['shares'][name]} %" for name in names)
        lines.append(f"| {place} | {row['workers']} | {row['seconds']:.0f} | {row['ms']} | {shares} |")
    return [*lines, ""]


def _curation(kept: dict[str, Any], people: dict[str, Any]) -> list[str]:
    run, photos = kept["run"], kept["run"]["photos"]
    lines = [
        "## Curation",
        "",
        f"`benchmarks/curation_scale.py`: {photos:,} photos of {run['people']:,} drawn people, {SIZE} px, no names, "
        f"the tiny models' face networks, {_workers(run)} of {run['cores']} CPU cores, {run['minutes']:.0f} min.",
        "",
        f"| stage | photos | core-seconds | photos a second and core | core-hours for {SCALED_TO:,} photos |",
        "|---|---|---|---|---|",
    ]
    scaled = {name: SCALED_TO / photos * stage["seconds"] / 3600 for name, stage in run["stages"].items()}
    scaled |= {"duplicates": _extrapolated(people["duplicates"])[1], "people": _scaled_people(people)[1]}
    for name, stage in run["stages"].items():
        rate = f"{photos / stage['seconds']:,.0f}" if stage["seconds"] >= 1 else ""
        lines.append(f"| {name} | {stage['photos']:,} | {stage['seconds']:.0f} | {rate} | {scaled[name]:,.0f} |")
    total = sum(scaled.values())
    highest = {name: max(sample[name] for sample in run["samples"]) for name in ("driver", "worker", "all")}
    lines += [
        "",
        f"Together {total:,.0f} core-hours for {SCALED_TO:,} such photos. Estimated, not measured: by photos; for "
        "duplicates, which the driver finds by itself, and for people from the tables of made hashes and embeddings "
        "below.",
        "",
        "Adjusted Rand index of the first few people and of all, at the threshold that `auto` takes, as in this run, "
        "and at fixed ones:",
        "",
        *_agreements(run["agreements"]),
        "",
        f"Memory at most: worker {highest['worker']:,} MB, driver {highest['driver']:,} MB, all processes "
        f"{highest['all']:,} MB.",
        "",
        "![memory while curating](curation_memory.png)",
        "",
    ]
    if "killed" in kept:
        killed = kept["killed"]
        outcome = "the same output to the last byte" if killed["same_output"] else "ANOTHER output"
        lines += [f"Killed {killed['kills']} times with SIGKILL and started again: {outcome}.", ""]
    return lines


def _workers(run: dict[str, Any]) -> str:
    return "one worker" if run["workers"] == 1 else f"{run['workers']} workers"


def _people(kept: dict[str, Any]) -> list[str]:
    exponent, hours = _scaled_people(kept)
    lines = [
        "### People in made embeddings",
        "",
        "`benchmarks/people_scale.py`: embeddings made like those of drawn people, 100 of each person; the stage "
        f"people with the threshold `auto`, {_workers(kept)} of {kept['cores']} CPU cores. Recall: share of "
        "the 32 true nearest neighbours that are found. ARI: adjusted Rand index. Driver: peak of its memory "
        "beyond the libraries.",
        "",
        "| photos | seconds | core-seconds | lists | searched | recall | threshold | ARI | driver, MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['photos']:,} | {row['seconds']:.0f} | {row['core_seconds']:.0f} | {row['lists'] or 'none: exact'} | "
        f"{row['probes'] or ''} | {row['recall']:.4f} | {row['threshold']:.3f} | {row['adjusted_rand_index']:.3f} | "
        f"{row['driver_mb']:,} |"
        for row in kept["auto"]
    ]
    lines += [
        "",
        f"With an index core-seconds grow as the number of photos to the power of {exponent:.2f} between the last two "
        f"rows, since more lists must be searched as more people look alike; by that, {SCALED_TO:,} photos take about "
        f"{hours:,.0f} core-hours (extrapolated, not measured).",
        "",
    ]
    if "grid" in kept:
        lines += [
            f"ARI at fixed thresholds, {kept['grid'][0]['photos']:,} photos:",
            "",
            "| " + " | ".join(f"{row['threshold']:.2f}" for row in kept["grid"]) + " |",
            "|---" * len(kept["grid"]) + "|",
            "| " + " | ".join(f"{row['adjusted_rand_index']:.3f}" for row in kept["grid"]) + " |",
            "",
        ]
    if "before" in kept:
        before = kept["before"]
        lines += [
            f"{before['photos']:,} photos all compared with all on the driver and then by the index, in one run on a "
            f"busy machine: {before['seconds']:.0f} s and {before['core_seconds']:.0f} core-seconds, then "
            f"{before['index_seconds']:.0f} s and {before['index_core_seconds']:.0f} core-seconds.",
            "",
        ]
    return lines


def _duplicates(rows: list[dict[str, Any]]) -> list[str]:
    exponent, hours = _extrapolated(rows)
    return [
        "### Duplicates among made hashes",
        "",
        "The same benchmark: hashes of 256 bits, a tenth of them copies with up to 14 bits changed; the stage "
        "duplicates at its default of 10 bits.",
        "",
        "| photos | core-seconds | duplicates | driver, MB |",
        "|---|---|---|---|",
        *(
            f"| {row['photos']:,} | {row['core_seconds']:.1f} | {row['found']:,} | {row['driver_mb']:,} |"
            for row in rows
        ),
        "",
        f"Core-seconds grow with the power of {exponent:.2f} between the last two rows; by that, {SCALED_TO:,} photos "
        f"take {hours:.1f} core-hours (extrapolated, not measured).",
        "",
    ]


def _agreements(rows: list[dict[str, Any]]) -> list[str]:
    thresholds = list(rows[0]["scores"])
    lines = [f"| people | {' | '.join(thresholds)} |", "|---" * (1 + len(thresholds)) + "|"]
    for row in rows:
        scores = {name: f"{score:.3f}" for name, score in row["scores"].items()}
        scores["auto"] += f" (at {row['auto']:.3f})"
        lines.append(f"| {row['people']:,} | {' | '.join(scores.values())} |")
    return lines


def _scaled_people(kept: dict[str, Any]) -> tuple[float, float]:
    """``_extrapolated`` of the rows with an index."""
    return _extrapolated([row for row in kept["auto"] if row["lists"]])


def _extrapolated(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Exponent of the core-seconds between the last two rows, and by that the core-hours for SCALED_TO photos."""
    import numpy as np

    photos, seconds = (np.log([row[name] for row in rows[-2:]]) for name in ("photos", "core_seconds"))
    exponent = float(np.diff(seconds)[0] / np.diff(photos)[0])
    return exponent, rows[-1]["core_seconds"] * (SCALED_TO / rows[-1]["photos"]) ** exponent / 3600


def _plot_memory(samples: list[dict[str, Any]], path: Path) -> None:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 4))
    minutes = [sample["second"] / 60 for sample in samples]
    for name, label in (("all", "all processes"), ("driver", "driver"), ("worker", "largest worker")):
        axis.plot(minutes, [sample[name] for sample in samples], label=label)
    known = ""
    for minute, sample in zip(minutes, samples, strict=True):
        if sample["stage"] != known:
            known = sample["stage"]
            axis.axvline(minute, color="gray", linewidth=0.6)
            axis.annotate(known, (minute, 0), rotation=90, fontsize=7, xytext=(2, 3), textcoords="offset points")
    axis.set(title="Curation: memory", xlabel="minutes", ylabel="MB", ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _plot(reports: dict[str, dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(reports), figsize=(7 * len(reports), 4.5), squeeze=False)
    for axis, (name, report) in zip(axes[0], reports.items(), strict=True):
        series: dict[str, list[tuple[int, float]]] = {}
        for case in report["steps"]:
            for variant, row in case["variants"].items():
                if variant != "unpatched":
                    series.setdefault(f"{variant}, {case['size']} px", []).append((case["people"], row["ratio"]))
        for label, points in series.items():
            axis.plot(*zip(*points, strict=True), marker="o", label=label)
        axis.axhline(1, color="black", linewidth=1)
        axis.set(title=f"{name}: step time, x unpatched", xlabel="people", yscale="log")
        axis.set_yticks([1, 1.05, 1.1, 1.25, 1.5, 2, 3], labels=["1", "1.05", "1.1", "1.25", "1.5", "2", "3"])
        axis.set_xticks([1, 2, 4, 8])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Writes page and plot."""
    if "--here" not in sys.argv:
        relaunch_in_environment()
    reports = {file.stem: json.loads(file.read_text()) for file in sorted((FOLDER / "results").glob("*.json"))}
    lines = [INTRODUCTION, "![step time](step_time.png)", ""]
    for name, report in reports.items():
        lines += [f"## {name}", "", f"Measured on {_machine(report)}.", "", *_table(report), ""]
        if report["once"]:
            lines += ["| once | seconds |", "|---|---|"]
            lines += [f"| {job} | {seconds:.2f} |" for job, seconds in report["once"].items()]
            lines.append("")
    lines += _groups(json.loads((FOLDER / "groups.json").read_text()))
    lines += _motions(json.loads((FOLDER / "motions.json").read_text()))
    lines += _canvas(json.loads((FOLDER / "canvas.json").read_text()))
    lines += _caching(json.loads((FOLDER / "caching.json").read_text()))
    lines += _training(json.loads((FOLDER / "training.json").read_text()))
    curation = json.loads((FOLDER / "curation_scale.json").read_text())
    people = json.loads((FOLDER / "people_scale.json").read_text())
    lines += _curation(curation, people) + _people(people) + _duplicates(people["duplicates"])
    (FOLDER / "README.md").write_text("\n".join(lines))
    _plot(reports, FOLDER / "step_time.png")
    _plot_memory(curation["run"]["samples"], FOLDER / "curation_memory.png")
    print_line(f"written: {FOLDER / 'README.md'}")


if __name__ == "__main__":
    main()
