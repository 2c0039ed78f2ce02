"""Motion over many pictures in a real ComfyUI: expression sheets and clips of held-out people, one prompt each."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from dynamicid.attention.options import DEFAULTS
from dynamicid.evaluation.comfy_client import ComfyClient, Graph
from dynamicid.files.digests import digest, digest_of_networks, sha256_hex
from dynamicid.synthetic import DrawnMotion, DrawnPortrait, Split, people_of, render_portrait, sample_identity
from dynamicid.synthetic.motion import EXPRESSIONS, posed

from ..places import CLASSIFIERS, COMFY_SIDE, DYNAMICID, FACE_PACK, PICTURE_SIZE, SEED, WEIGHTS
from ..train.classifiers import Classifiers, load_classifiers
from .benchmark import PORTRAITS, Case, make_cases
from .evaluation import Extent, photo_embedding
from .metrics import faces_at_places, score_picture, summarise

VIEWS = ("front", "left", "right")
SHEET: tuple[DrawnMotion, ...] = tuple(posed(expression, view) for view in VIEWS for expression in EXPRESSIONS)
"""Seven expressions in three views."""
CLIP: tuple[DrawnMotion, ...] = tuple(DrawnMotion(yaw=float(yaw)) for yaw in np.linspace(-28, 28, 16))
"""A head that turns from one side to the other."""
START_AT = 0.2
_MOST_SECONDS = 3600
KINDS = {"sheet": (SHEET, True), "clip": (CLIP, True), "clip, other noise": (CLIP, False)}
"""What is painted of a person: its motions, and whether all pictures begin with the same noise."""
CLIP_SHARE = 3
"""One person in so many is painted in clips, too."""
TABLE_SCORES = ("face_sim", "expr", "pose")


def measure_motions(address: str, people: int, first_seed: int, work: Path, out: Path) -> None:
    """Paints and scores a sheet of each person and two clips of every third, and writes ``motions.md``.

    Args:
        address: URL of a ComfyUI with this pack and ``tiny_models/comfyui``.
        people: How many; the first cases of the table's portraits.
        first_seed: Number of seeds of each case to skip.
        work: Folder of painted pictures, named after the networks, the graph and its photos; existing ones are not
            painted again.
        out: Folder of the results.
    """
    client, classifiers, networks = ComfyClient(address), load_classifiers(CLASSIFIERS), digest_of_networks([WEIGHTS])
    all_cases = make_cases(PORTRAITS, people)
    rows = {}
    for name, (motions, fixed) in KINDS.items():
        cases = all_cases if motions is SHEET else all_cases[::CLIP_SHARE]
        pictures = [
            _paint(client, _photos(case, motions), _graph(case, len(motions), fixed, first_seed), work / name, networks)
            for case in tqdm(cases, unit="person", desc=name)
        ]
        rows[name] = score_frames(classifiers, cases, motions, np.stack(pictures))
    out.mkdir(parents=True, exist_ok=True)
    (out / "motions.md").write_text(_page(rows, people), encoding="utf-8")


def _paint(client: ComfyClient, photos: Sequence[bytes], graph: Graph, folder: Path, networks: str) -> np.ndarray:
    """(frames, size, size, 3) uint8."""
    path = folder / f"{digest(networks, graph, [sha256_hex(photo) for photo in photos])[:24]}.npy"
    if not path.is_file():
        for number, photo in enumerate(photos):
            client.upload(_photo_name(number), photo)
        images = client.run(graph, _MOST_SECONDS)["outputs"]["save"]["images"]
        decoded = [np.array(Image.open(io.BytesIO(client.view(image))).convert("RGB")) for image in images]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(decoded))
    return np.load(path)


def _photo_name(number: int) -> str:
    return f"motions-{number:02d}.png"


def _photos(case: Case, motions: Sequence[DrawnMotion]) -> list[bytes]:
    """PNG files: the person's photo, then the driver's frames."""
    assert isinstance(case.drawing, DrawnPortrait)
    others = [number for number in people_of(Split.held_out) if number != case.subjects[0].person]
    driver = replace(case.drawing, identity=sample_identity(SEED, others[case.number % len(others)]))
    frames = [render_portrait(replace(driver, motion=motion), PICTURE_SIZE)[0] for motion in motions]
    files = []
    for picture in [case.subjects[0].photo, *frames]:
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "PNG")
        files.append(content.getvalue())
    return files


def _graph(case: Case, count: int, fixed: bool, first_seed: int) -> Graph:
    """Motion from Image with all ``count`` frames, Edit Face, one sampler."""
    graph: Graph = {}

    def add(name: str, class_type: str, **inputs: Any) -> str:
        graph[name] = {"class_type": class_type, "inputs": inputs}
        return name

    base = add("base", "DrawnFamilyLoader")
    model, clip, vae, vision = ([base, output] for output in range(4))
    dynamicid = [add("dynamicid", "DynamicIDLoader", saa=DYNAMICID.name, imr=DYNAMICID.name), 0]
    finder = [add("finder", "DynamicIDFaceAnalysisLoader", pack=FACE_PACK.name, provider="auto"), 0]
    photo, *frames = [[add(name, "LoadImage", image=name), 0] for name in map(_photo_name, range(count + 1))]
    chosen = {"pick": "largest", "index": 0}
    face = add(
        "face", "DynamicIDEncodeFace",
        dynamicid=dynamicid, face_analysis=finder, clip_vision=vision, image=photo, **chosen, crop="auto",
    )  # fmt: skip
    clip_of_frames = frames[0]
    for number, frame in enumerate(frames[1:], 1):
        clip_of_frames = [add(f"batch {number}", "ImageBatch", image1=clip_of_frames, image2=frame), 0]
    motion = add("motion", "DynamicIDMotionFromImage", face_analysis=finder, image=clip_of_frames, **chosen)
    edited = add(
        "edited", "DynamicIDEditFace",
        dynamicid=dynamicid, face=[face, 0], clip=clip, motion=[motion, 0], target_prompt="", source_prompt="",
        strength=1.0,
    )  # fmt: skip
    options = {**vars(DEFAULTS), "layout_strength": 0.0, "start_at": START_AT}
    patched = add("patched", "DynamicIDApply", model=model, dynamicid=dynamicid, face=[edited, 0], **options)
    latent = add("latent", "EmptyLatentImage", width=COMFY_SIDE, height=COMFY_SIDE, batch_size=count)
    if fixed:
        latent = add("same noise", "LatentBatchSeedBehavior", samples=[latent, 0], seed_behavior="fixed")
    positive, negative = (
        [add(name, "CLIPTextEncode", clip=clip, text=text), 0]
        for name, text in (("positive", case.caption), ("negative", ""))
    )
    samples = add(
        "samples", "KSampler",
        model=[patched, 0], positive=positive, negative=negative, latent_image=[latent, 0],
        seed=1000 * case.number + first_seed,
        steps=Extent.steps, cfg=Extent.guidance, sampler_name="ddim", scheduler="ddim_uniform", denoise=1.0,
    )  # fmt: skip
    decoded = add("decoded", "VAEDecode", samples=[samples, 0], vae=vae)
    add("save", "PreviewImage", images=[decoded, 0])
    return graph


def score_frames(
    classifiers: Classifiers, cases: Sequence[Case], motions: Sequence[DrawnMotion], pictures: np.ndarray
) -> dict[str, np.ndarray]:
    """Name -> (people, frames): the table's scores and the error of yaw in degrees; NaN where no face is found."""
    subjects = [case.subjects[0] for case in cases]
    photos = [photo_embedding(classifiers, subject) for subject in subjects]
    rows: list[list[dict[str, float]]] = []
    for number, (case, painted) in enumerate(zip(cases, pictures, strict=True)):
        rows.append([])
        for motion, prediction in zip(motions, classifiers.predict(painted), strict=True):
            wanted = replace(case, subjects=(replace(subjects[number], target=motion),))
            (face,) = faces_at_places(wanted.subjects, prediction.faces)
            error = float("nan") if face is None else abs(float(face.pose[1]) - motion.yaw)
            scores = score_picture(wanted, prediction, photos[number][None], photos[number - 1])
            rows[-1].append({**scores, "yaw_error": error})
    return {name: np.array([[row[name] for row in person] for person in rows]) for name in rows[0][0]}


def _page(rows: Mapping[str, Mapping[str, np.ndarray]], people: int) -> str:
    sheet, clip, other = (rows[name] for name in KINDS)
    expected = [summarise(np.nanmean(sheet[name], axis=1)[None]) for name in TABLE_SCORES]
    lines = [
        "# Motion over many pictures, painted in ComfyUI",
        "",
        f"The first {people} people of the table's portraits. Each sheet and each clip is one prompt: Motion from "
        "Image reads the drawn frames of another person, Edit Face edits all of them, one sampler paints the batch. In "
        "brackets: 95 % interval over people. Made by `python scripts/evaluate_family_in_comfyui.py --motions`.",
        "",
        f"**Sheets** of {len(EXPRESSIONS)} expressions in {len(VIEWS)} views, the same noise for all:",
        "",
        "| FaceSim | Expr | Pose |",
        "|---|---|---|",
        f"| {' | '.join(f'{score.mean:.3f} [{score.low:.2f}, {score.high:.2f}]' for score in expected)} |",
        "",
        "| expression | Expr | Pose |",
        "|---|---|---|",
    ]
    for number, name in enumerate(EXPRESSIONS):
        columns = [sheet[score][:, number :: len(EXPRESSIONS)].mean() for score in TABLE_SCORES[1:]]
        lines.append(f"| {name} | {' | '.join(f'{share:.2f}' for share in columns)} |")
    lines += [
        "",
        f"**Clips** of {len(CLIP)} frames of {len(clip['expr'])} of these people, a head that turns from "
        f"{CLIP[0].yaw:.0f} to {CLIP[-1].yaw:.0f} degrees. Spread: standard deviation of FaceSim over the frames of a "
        "clip, mean over people.",
        "",
        "| noise | median error of yaw, degrees | 90 % within | FaceSim | spread |",
        "|---|---|---|---|---|",
    ]
    for title, kind in (("the same for all frames", clip), ("another one for each frame", other)):
        errors, likeness = kind["yaw_error"], kind["face_sim"]
        lines.append(
            f"| {title} | {np.nanmedian(errors):.1f} | {np.nanpercentile(errors, 90):.1f} | "
            f"{np.nanmean(likeness):.3f} | {np.nanstd(likeness, axis=1).mean():.3f} |"
        )
    missing = sum(int(np.isnan(kind["yaw_error"]).sum()) for kind in rows.values())
    return "\n".join([*lines, "", f"Pictures without a face: {missing}.", ""])
