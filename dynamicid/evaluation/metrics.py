"""What is measured of each person: the columns of the table and their definitions."""

from dataclasses import dataclass, replace

POSE_TOLERANCE = 15.0
"""Degrees."""
MOST_JUDGES = 2
"""WithAnyone measures with three recognisers: here the face pack and two judges."""


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        key: Of the rows; several metrics may read one row.
        name: As the table shows it.
        definition: What the number is, and where it comes from.
        differs: How it may differ from the paper's; "" where the paper has no such number.
        paper: The paper's figures of DynamicID for one person and for several; None where it has none.
        higher: Whether more is better.
        is_share: Whether it counts people, 0 or 1 each.
        by_judges: Whether it is another one's number by a judge, or a mean over recognisers.
    """

    key: str
    name: str
    definition: str
    differs: str = ""
    paper: tuple[float, float] | None = None
    higher: bool = True
    is_share: bool = False
    by_judges: bool = False


_MEASURED = (
    Metric(
        "clip_t", "CLIP-T",
        "Cosine of CLIP's embeddings of picture and prompt, not below 0 (torchmetrics' CLIPScore / 100). The prompt "
        "says nothing of expressions and poses.",
        "The paper names no CLIP version and its prompts are not published; other versions give other levels.",
        (0.239, 0.237),
    ),
    Metric(
        "face_sim", "FaceSim",
        "Cosine of ArcFace embeddings of the person's photo and of the painted face; nobody found = 0. A person alone: "
        "the face most like the photo, as the node Face Similarity says.",
        "The paper names no recognition network, and does not say how people of a group are matched or what a missing "
        "face counts.",
        (0.671, 0.664),
    ),
    Metric(
        "expr", "Expr",
        "Share of people whose painted expression is read as the target's: the likeliest of seven, by the emotion "
        "model; nobody found = 0.",
        "The paper does not say how Expr is computed. 1/7 is chance for a face that ignores the target.",
        (0.456, 0.431), is_share=True,
    ),
    Metric(
        "expr_probability", "Expr, probability",
        "Probability that the emotion model gives to the target's expression, the mean; nobody found = 0.",
        "Another reading of what the paper's Expr may be.",
    ),
    Metric(
        "pose", "Pose",
        f"Share of people whose pitch and yaw are both within {POSE_TOLERANCE:g} degrees of the target's, by the face "
        "pack's 3D landmarks; nobody found = 0.",
        "The paper does not say how Pose is computed, nor which angles its targets have.",
        (0.878, 0.867), is_share=True,
    ),
    Metric(
        "pose_error", "Pose error",
        "The larger of the two differences of pitch and yaw in degrees, over the faces found.",
        higher=False,
    ),
    Metric("found", "found", "Share of people for whom a face was found at their place.", is_share=True),
    Metric(
        "leakage", "leakage",
        "Several people: the highest cosine of a painted face with the photo of another person of the picture, over "
        "the faces found. Strangers' cosines lie near 0.",
        higher=False,
    ),
    Metric(
        "margin", "own - other",
        "Several people: FaceSim less leakage, over the faces found; below 0 the face is more like somebody else.",
    ),
    Metric(
        "assigned", "assigned right",
        "Several people: faces and photos are matched so that the sum of cosines is largest (Hungarian matching); "
        "share of people whom this gives the face at their own place; nobody found = 0.",
        is_share=True,
    ),
    Metric(
        "hungarian", "Hungarian ID",
        "Hungarian identity similarity: faces and photos are matched so that the sum of cosines is largest, wherever "
        "the faces are; the cosine of each person's match, a person without one = 0 (MultiHuman-Testbench, "
        "arXiv 2506.20879).",
    ),
    Metric(
        "count", "people right",
        "Share of pictures in which as many faces are found as people were asked for (MultiHuman-Testbench's count "
        "accuracy, arXiv 2506.20879).",
        is_share=True,
    ),
    Metric(
        "each_once", "each once",
        "Share of pictures in which every person is there exactly once: every face counts as the person whose photo it "
        "is most like, and each person gets one face (the confusion and the duplicates that UMO, arXiv 2509.06818, "
        "trains against). No threshold: a stranger counts as somebody.",
        is_share=True,
    ),
    Metric(
        "sim_gt", "Sim(GT)",
        "Cosine of the embeddings of the painted face and of the person in a picture of what was asked for "
        "(--ground-truth); nobody found = 0 (WithAnyone, arXiv 2510.14975; there only matched faces count).",
    ),
    Metric(
        "copy_paste", "copy-paste",
        "(angle to the ground truth - angle to the photo) / angle between the two, of the embeddings, over the faces "
        "found: 1 = the photo's face, 0 = as far from both, -1 = the ground truth's (WithAnyone, arXiv 2510.14975).",
        higher=False,
    ),
    Metric(
        "agree", "recognisers agree",
        "Several people: share of people about whom all recognisers (--judge-pack) say the same: whose photo the face "
        "at their place is most like; over the faces that all of them find.",
        is_share=True,
    ),
    Metric(
        "disturbance", "disturbance",
        "1 - SSIM (torchmetrics, Gaussian window, sigma 1.5) to the unpatched model's picture of the same seed, over "
        "the background: all that lies outside the people's boxes and outside the faces found, grown by half. "
        "0 = the same.",
        higher=False,
    ),
)  # fmt: skip
LIKENESSES = ("face_sim", "leakage", "margin", "assigned", "hungarian", "each_once", "sim_gt", "copy_paste")
"""Keys of the metrics that depend on the recogniser."""
AVERAGED = ("face_sim", "hungarian", "sim_gt", "copy_paste")
"""Keys of those that are also averaged over all recognisers."""


def _of_recognisers(metric: Metric) -> list[Metric]:
    """The metric by the face pack, by each judge, and the mean of all of them."""
    if metric.key not in LIKENESSES:
        return [metric]
    columns = [metric]
    for judge in range(1, MOST_JUDGES + 1):
        definition = f"{metric.name} by the faces and embeddings of judge {judge} (--judge-pack)."
        columns.append(_derived(metric, judge_key(metric.key, judge), f"{metric.name}, judge {judge}", definition))
    if metric.key in AVERAGED:
        definition = f"Mean of {metric.name} over face pack and judges, as WithAnyone (arXiv 2510.14975) reports."
        columns.append(_derived(metric, mean_key(metric.key), f"{metric.name}, mean", definition))
    return columns


def _derived(metric: Metric, key: str, name: str, definition: str) -> Metric:
    return replace(metric, key=key, name=name, definition=definition, differs="", paper=None, by_judges=True)


def judge_key(key: str, judge: int) -> str:
    """Key of a likeness by a judge; they are counted from 1."""
    return f"{key}_judge_{judge}"


def mean_key(key: str) -> str:
    """Key of the mean of a likeness over all recognisers."""
    return f"{key}_mean"


METRICS = tuple(column for metric in _MEASURED for column in _of_recognisers(metric))
"""All columns, in the table's order."""
