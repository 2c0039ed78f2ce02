"""The model patch, and the view on what it did."""

from comfy_api.latest import io, ui

from ..dynamicid.attention.options import AUTOMATIC_LAYOUT, DEFAULTS, RANGES, ApplyOptions
from ..dynamicid.faces.regions import regions_of
from ..dynamicid.host.activation_sheet import activation_sheet
from ..dynamicid.host.apply import apply_dynamicid
from ..dynamicid.host.graph import keys_before_input, output_is_connected
from ..dynamicid.host.heat_map import heat_map
from .inputs import unit_float
from .types import CATEGORY, Activation, DynamicID, Face, Regions, known_options

_ACTIVATION_OUTPUT = 1


class DynamicIDApply(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDApply",
            display_name="Apply DynamicID",
            category=CATEGORY,
            **known_options(search_aliases=["face id", "identity", "several people", "consistent character"]),
            description="Patches an SD1.5 model so that it paints the given people in their places.",
            inputs=[
                io.Model.Input("model", tooltip="An SD1.5 model, before or after LoRAs and other patches."),
                DynamicID.Input("dynamicid", tooltip="Networks from Load DynamicID."),
                Face.Input(
                    "face", optional=True, tooltip="One person, anywhere in the picture. Either this or `regions`."
                ),
                Regions.Input("regions", optional=True, tooltip="People and their places. Either this or `face`."),
                unit_float(
                    "weight",
                    DEFAULTS.weight,
                    "Strength of the identities. Neutral: 0; 1 as published.",
                    RANGES["weight"][1],
                ),
                unit_float(
                    "lora_strength",
                    DEFAULTS.lora_strength,
                    "Strength of DynamicID's LoRA on the attention layers. Neutral: 0; 1 as published. Two Apply nodes "
                    "in a row with the same weights merge it once, at the larger value.",
                    RANGES["lora_strength"][1],
                ),
                io.Boolean.Input(
                    "gate",
                    default=DEFAULTS.gate,
                    tooltip="On: identity features enter only where the attention finds a face, and inside a person's "
                    "place only that person's. Off: everywhere, all people mixed; places then have no effect.",
                ),
                unit_float(
                    "gate_threshold",
                    DEFAULTS.gate_threshold,
                    "Activations below this value are set to 0. Neutral: 0; 0.3 as published.",
                ),
                io.Float.Input(
                    "layout_strength",
                    default=DEFAULTS.layout_strength,
                    min=AUTOMATIC_LAYOUT,
                    max=RANGES["layout_strength"][1],
                    step=0.1,
                    tooltip="How strongly people are pulled to their places in the first steps. -1: automatic, 0 with "
                    "one person, 2 with more. Neutral: 0.",
                ),
                unit_float(
                    "layout_end", DEFAULTS.layout_end, "Share of sampling after which that pull ends. Neutral: 0."
                ),
                unit_float(
                    "start_at",
                    DEFAULTS.start_at,
                    "Share of sampling at which DynamicID, LoRA included, begins to act. Before, the base model paints "
                    "alone and lays the picture out: 0.2 if somebody is missing from a group. Neutral: 0.",
                ),
                unit_float(
                    "end_at",
                    DEFAULTS.end_at,
                    "Share of sampling at which DynamicID, LoRA included, ceases to act. Neutral: 1.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                Activation.Output(
                    display_name="activation",
                    tooltip="Activation maps of each person, for Activation Preview. Recorded only while connected.",
                ),
            ],
            # Makes the node's id part of its cache key: two nodes with the same inputs must not share one record.
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **kwargs):
        return output_is_connected(_ACTIVATION_OUTPUT)

    @classmethod
    def execute(cls, model, dynamicid, face=None, regions=None, **options) -> io.NodeOutput:
        record = output_is_connected(_ACTIVATION_OUTPUT)
        people = regions_of(face, regions)
        return io.NodeOutput(*apply_dynamicid(model, dynamicid, people, ApplyOptions(**options), record))


class DynamicIDActivationPreview(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DynamicIDActivationPreview",
            display_name="Activation Preview",
            category=CATEGORY,
            **known_options(search_aliases=["attention map", "heat map"]),
            description="Shows where the identities entered the picture: on the node step by step for each person, at "
            "the output for the step and the person chosen.",
            inputs=[
                Activation.Input("activation", tooltip="From Apply DynamicID."),
                io.Image.Input(
                    "image", tooltip="The picture that was sampled with the model of the same Apply DynamicID."
                ),
                io.Int.Input(
                    "step",
                    optional=True,
                    default=-1,
                    min=-1,
                    max=9999,
                    tooltip="Step from 0. Neutral: -1, the mean of all.",
                ),
                io.Int.Input(
                    "person",
                    optional=True,
                    default=0,
                    min=0,
                    max=8,
                    tooltip="Person from 1. Neutral: 0, everybody, each in their colour.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="heat map"),
                io.Mask.Output(display_name="mask", tooltip="The same map as a mask, 0 to 1."),
            ],
        )

    @classmethod
    def execute(cls, activation, image, step=-1, person=0) -> io.NodeOutput:
        activation = activation.run_of(keys_before_input("image"))
        outputs = heat_map(activation, image, step, person)
        shown = None if activation.idle else ui.PreviewImage(activation_sheet(activation, image), cls=cls)
        return io.NodeOutput(*outputs, ui=shown)
