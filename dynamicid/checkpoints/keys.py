"""The key layout of DynamicID's weight files, as data (docs/method.md, Weight files).

Every file is read as one flat table of names; a nested pickle ``{"proj_module": {"norm.weight": t}}`` reads as
``proj_module.norm.weight``. The first prefix of each network is the one this pack writes.
"""

import re

PROJECTOR = "projector"
SAA = "saa"
IMR = "imr"
KEYPOINTS = "keypoints"

NETWORK_TITLES = {
    PROJECTOR: "face projector",
    SAA: "SAA layers",
    IMR: "IMR",
    KEYPOINTS: "key-point encoder",
}

NETWORK_PREFIXES: dict[str, tuple[str, ...]] = {
    PROJECTOR: ("projector.", "proj_module.", "image_proj."),
    SAA: ("saa.", "SAA_module.", "ip_adapter.", "adapter_modules."),
    IMR: ("imr.",),
    KEYPOINTS: ("keypoints.",),
}
OLDER_PREFIXES = ("image_proj.", "ip_adapter.", "adapter_modules.")

BARE_MARKERS: dict[str, re.Pattern[str]] = {
    IMR: re.compile(r"(feature_fusion|disentangleNet|entangleNet)\."),
    KEYPOINTS: re.compile(r"blocks\.\d+\.\d+\.conv_block\."),
}
"""Published single files carry no prefix: a name that matches tells which network the file is."""

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out")
SAA_NAME = re.compile(r"(\d{1,5})\.(.+)")
SELF_ATTENTION_NAMES = tuple(f"{target}_lora.{half}.weight" for target in LORA_TARGETS for half in ("down", "up"))
CROSS_ATTENTION_NAMES = (*SELF_ATTENTION_NAMES, "to_k_ip.weight", "to_v_ip.weight")

FORMAT_METADATA = {"format": "dynamicid", "version": "1"}

PARTNER_NAMES = ("key_point_encoder", "keypoint_encoder")
"""What replaces ``IMR`` in the file name of an IMR to name its key-point encoder."""
IMR_IN_NAME = re.compile(r"(?<![A-Za-z])imr(?![A-Za-z])", re.IGNORECASE)

UNRELATED_MODELS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a LoRA", re.compile(r"(lora_unet_|lora_te|.*\.(lora_up|lora_down|lora_A|lora_B|hada_w1_a|lokr_w1)\b)")),
    (
        "a Stable Diffusion checkpoint",
        re.compile(r"(state_dict\.)?(model\.diffusion_model|cond_stage_model|conditioner)\."),
    ),
    ("a ControlNet", re.compile(r"(control_model|controlnet_cond_embedding|controlnet_down_blocks)\.")),
    ("an IP-Adapter or InstantID file", re.compile(r"(image_proj|ip_adapter|id_encoder|pulid_ca|id_adapter)\b")),
    ("a VAE", re.compile(r"(first_stage_model\.|(encoder|decoder)\.(down|up|mid|down_blocks|up_blocks)\b)")),
    ("a CLIP vision model", re.compile(r"(vision_model|visual|visual_projection)\.")),
    ("a text encoder", re.compile(r"(text_model|transformer\.text_model|encoder\.block|shared)\.")),
    ("a diffusers UNet", re.compile(r"(down_blocks|up_blocks|mid_block|conv_in)\.")),
    ("a FLUX or SD3 model", re.compile(r"(double_blocks|single_blocks|joint_blocks|transformer_blocks)\.")),
    ("an upscaler", re.compile(r"(body\.\d+\.rdb|RRDB_trunk|model\.\d+\.sub)\b")),
)
"""(what it looks like, pattern of a name that gives it away), tried in this order."""
