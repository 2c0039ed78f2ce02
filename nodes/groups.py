"""Nodes for pictures of several people: everybody cut out, pasted back, and checked."""

from comfy_api.latest import io

from ..dynamicid.faces.matching import MATCHES
from ..dynamicid.host.checking import check_people
from ..dynamicid.host.crops import crop_people, paste_crops, single
from .inputs import face_analysis_input, unit_float
from .types import CATEGORY, Crops, Face, Regions, known_options


class DynamicIDCropPeople(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDCropPeople",
            display_name="Crop People",
            category=CATEGORY,
            **known_options(search_aliases=["face detailer", "crop faces", "repaint faces", "group photo"]),
            description="Cuts each person out of a picture, so that the nodes behind it repaint every face by itself "
            "and as the right person. The lists go through VAE Encode, Apply DynamicID, KSampler and VAE Decode to "
            "Paste People.",
            inputs=[
                face_analysis_input(),
                io.Image.Input("image", tooltip="Pictures of the people; a batch shows the same people."),
                Regions.Input("regions", tooltip="Who is in the pictures, and where."),
                io.Combo.Input(
                    "match",
                    options=list(MATCHES),
                    default=MATCHES[0],
                    tooltip="place: a person's face is the one at their place. likeness: the one most like their "
                    "photo. Neutral: place.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Side of each crop in pixels. Neutral: 512, the size SD1.5 was trained on.",
                ),
                io.Float.Input(
                    "grow",
                    default=1.0,
                    min=0.5,
                    max=4.0,
                    step=0.05,
                    tooltip="How much around each face is cut out. Neutral: 1, head and shoulders.",
                ),
                io.String.Input(
                    "prompt",
                    default="a portrait of a person, {expression}",
                    multiline=True,
                    tooltip="Prompt of the crops: one line for everybody, or one line for each person in the order of "
                    "`regions`. The word expression in curly brackets becomes the words for expression and head pose.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", is_output_list=True, tooltip="One crop for each person found."),
                Face.Output(display_name="face", is_output_list=True, tooltip="The person of each crop."),
                io.String.Output(display_name="prompt", is_output_list=True, tooltip="The prompt of each crop."),
                io.Mask.Output(
                    display_name="mask",
                    is_output_list=True,
                    tooltip="Head, hair and neck of each crop; what Paste People puts back.",
                ),
                Crops.Output(display_name="crops", tooltip="For Paste People."),
                io.Image.Output(display_name="preview", tooltip="The pictures with all crops and masks."),
            ],
        )

    @classmethod
    def execute(cls, face_analysis, image, regions, match, size, grow, prompt) -> io.NodeOutput:
        return io.NodeOutput(*crop_people(face_analysis, image, regions, match, size, grow, prompt))


class DynamicIDPastePeople(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDPastePeople",
            display_name="Paste People",
            category=CATEGORY,
            **known_options(search_aliases=["face detailer", "stitch faces", "uncrop"]),
            description="Puts the repainted crops of Crop People back into their pictures. Pixels outside the masks "
            "stay as they are.",
            is_input_list=True,
            inputs=[
                io.Image.Input("image", tooltip="The repainted crops, in the order of Crop People; any size."),
                Crops.Input("crops", tooltip="From the same Crop People."),
                unit_float(
                    "feather", 0.15, "Width of the transition inside each mask as a share of the crop. Neutral: 0.", 0.5
                ),
                io.Boolean.Input(
                    "match_colour",
                    default=True,
                    tooltip="Shifts the colours of each crop so that what lies around the person keeps those of the "
                    "picture. Neutral: off.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, image, crops, feather, match_colour) -> io.NodeOutput:
        return io.NodeOutput(paste_crops(image, single(crops), feather[0], match_colour[0]))


class DynamicIDCheckPeople(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDCheckPeople",
            display_name="Check People",
            category=CATEGORY,
            **known_options(search_aliases=["best of batch", "pick best", "face check"]),
            description="Looks for everybody at their places in a batch of pictures, and gives the best picture on.",
            inputs=[
                face_analysis_input(),
                io.Image.Input("image", tooltip="Pictures of the same people, such as a batch of four."),
                Regions.Input("regions", tooltip="Who should be in the pictures, and where."),
                unit_float(
                    "threshold",
                    0.3,
                    "Least cosine similarity of a face with its person for a picture to pass. Neutral: 0.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="best",
                    tooltip="The picture with most people right; among equals the one most like them.",
                ),
                io.Boolean.Output(
                    display_name="passed", tooltip="Whether everybody is in it, as themselves, above the threshold."
                ),
                io.Float.Output(display_name="score", tooltip="Mean cosine of the people of the best picture."),
                io.String.Output(display_name="report", tooltip="Who is missing, doubled or blended."),
                io.Image.Output(display_name="preview", tooltip="All pictures with the people numbered."),
            ],
        )

    @classmethod
    def execute(cls, face_analysis, image, regions, threshold) -> io.NodeOutput:
        return io.NodeOutput(*check_people(face_analysis, image, regions, threshold))
