"""Nodes that say where people may appear."""

from comfy_api.latest import io

from ..dynamicid.faces.regions import Region, append_region, checked_box, checked_mask, numbered_people
from ..dynamicid.host.region_editing import edited_regions
from ..dynamicid.host.region_finding import (
    AS_GIVEN,
    LARGEST_GROWTH,
    ORDERS,
    regions_from_boxes,
    regions_from_image,
)
from .inputs import BoxesInput, face_analysis_input, people_inputs, unit_float
from .types import CATEGORY, SHOWN_FROM_CACHE, BoundingBox, Face, Regions, known_options


class DynamicIDRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDRegion",
            display_name="Region",
            category=CATEGORY,
            **known_options(search_aliases=["person mask", "face box", "regional"]),
            description="A person and their place. Chain several through `regions` for several people, up to eight.",
            inputs=[
                Face.Input("face", tooltip="The person."),
                unit_float("x", 0.0, "Left edge as a share of the width. Neutral: 0."),
                unit_float("y", 0.0, "Upper edge as a share of the height. Neutral: 0."),
                unit_float(
                    "width", 0.0, "Width of the box. Neutral: 0, people without a box share equal vertical slices."
                ),
                unit_float(
                    "height", 0.0, "Height of the box. Neutral: 0, people without a box share equal vertical slices."
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Where the person may appear, soft edges allowed. Replaces the box."
                ),
                Regions.Input("regions", optional=True, tooltip="People placed so far; this one is added."),
            ],
            outputs=[Regions.Output(display_name="regions")],
        )

    @classmethod
    def execute(cls, face, x, y, width, height, mask=None, regions=()) -> io.NodeOutput:
        place = checked_box(x, y, width, height) if mask is None else None
        region = Region(face, place, None if mask is None else checked_mask(mask))
        return io.NodeOutput(append_region(regions or (), region, "regions"))


class DynamicIDRegionEditor(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDRegionEditor",
            display_name="Region Editor",
            category=CATEGORY,
            **known_options(search_aliases=["draw boxes", "bounding box", "several people", "regional"]),
            description="Draw each person's place on the node. People without a box share equal vertical slices.",
            inputs=[
                *people_inputs("Person {n}, who belongs in box {n}."),
                BoxesInput(
                    "boxes",
                    default="[]",
                    tooltip="The boxes as drawn: a JSON list of x, y, width, height in shares of the picture, one for "
                    "each person in order. Neutral: [], equal vertical slices.",
                ),
                io.Image.Input("image", optional=True, tooltip="A picture behind the boxes; it changes no region."),
            ],
            outputs=[
                Regions.Output(display_name="regions"),
                io.Image.Output(display_name="preview", tooltip="The boxes with their people, numbered."),
            ],
            **SHOWN_FROM_CACHE,
        )

    @classmethod
    def execute(cls, boxes, image=None, **faces) -> io.NodeOutput:
        people = numbered_people(faces)
        regions, preview, entries = edited_regions(people, boxes, image)
        return io.NodeOutput(regions, preview, ui={"dynamicid_people": entries})


class DynamicIDRegionsFromImage(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDRegionsFromImage",
            display_name="Regions from Image",
            category=CATEGORY,
            **known_options(search_aliases=["composition", "face boxes", "detect faces"]),
            description="Takes the places of the faces in an existing picture: face_n gets the place of its n-th face.",
            inputs=[
                face_analysis_input(),
                io.Image.Input("image", tooltip="The picture whose composition is used."),
                *people_inputs("The person for face number {n} of the picture."),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default="left to right",
                    tooltip="How the picture's faces are counted, as the preview numbers them. Neutral: left to right.",
                ),
                unit_float(
                    "grow",
                    0.5,
                    "Each box grows on every side by this share of its size, for hair and neck. Neutral: 0.",
                    LARGEST_GROWTH,
                ),
            ],
            outputs=[
                Regions.Output(display_name="regions"),
                io.Image.Output(display_name="preview", tooltip="The picture with its faces numbered."),
            ],
        )

    @classmethod
    def execute(cls, face_analysis, image, order, grow, **faces) -> io.NodeOutput:
        people = numbered_people(faces)
        return io.NodeOutput(*regions_from_image(face_analysis, image, people, order, grow))


class DynamicIDRegionsFromBoxes(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDRegionsFromBoxes",
            display_name="Regions from Boxes",
            category=CATEGORY,
            **known_options(search_aliases=["bounding boxes", "bbox", "detector", "SAM"]),
            description="Takes places from boxes that ComfyUI's own nodes found or drew: the n-th box is the place of "
            "face_n.",
            inputs=[
                BoundingBox.Input("bboxes", tooltip="Boxes of one picture, in pixels."),
                io.Image.Input("image", tooltip="The picture that the boxes belong to."),
                *people_inputs("The person for box number {n}."),
                io.Combo.Input(
                    "order",
                    options=[AS_GIVEN, *ORDERS],
                    default=AS_GIVEN,
                    tooltip="How the boxes are counted. Neutral: as given.",
                ),
                unit_float(
                    "grow", 0.0, "Each box grows on every side by this share of its size. Neutral: 0.", LARGEST_GROWTH
                ),
            ],
            outputs=[
                Regions.Output(display_name="regions"),
                io.Image.Output(display_name="preview", tooltip="The picture with everybody's place."),
            ],
        )

    @classmethod
    def execute(cls, bboxes, image, order, grow, **faces) -> io.NodeOutput:
        return io.NodeOutput(*regions_from_boxes(bboxes, image, numbered_people(faces), order, grow))
