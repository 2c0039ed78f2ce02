"""CLIP text, CLIP vision and the IMR as the nodes use them, on the golden cases."""

import importlib
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.faces.emotion_files import FER_PLUS, scores_for, write_emotion_onnx
from tests.standin.host_files import clip_vision_state
from tests.standin.painted_faces import draw_test_faces
from tests.standin.rule import rule_input, rule_state


@pytest.fixture(scope="module")
def clip(comfy, model_files):
    """CLIP-L by rule, in the host's own precision."""
    sd = importlib.import_module("comfy.sd")
    return sd.load_checkpoint_guess_config(str(model_files / "checkpoints" / "small.safetensors"))[1]


@pytest.fixture(scope="module")
def vision(comfy):
    """ViT-H by rule in float32; the host's own fp16 would add its rounding to the comparison."""
    options = importlib.import_module("comfy.cli_args").args
    options.fp32_text_enc = True
    try:
        return importlib.import_module("comfy.clip_vision").load_clipvision_from_sd(clip_vision_state())
    finally:
        options.fp32_text_enc = False


@pytest.fixture(scope="module")
def encoders(pack):
    return pack.load("dynamicid.host.encoders")


class FakeAnalyzer:
    """A face finder that answers by a rule."""

    emotion_reader = None

    def __init__(self, detect):
        self.detect = detect


@pytest.mark.parametrize("skip", [None, -2])
def test_pooled_face_prompts_are_the_references(skip, clip, encoders, golden):
    """Within 1e-2: the host keeps its text encoder in fp16. A clip-skip node changes nothing."""
    case, expected = golden("text_pooled")
    clip = clip.clone()
    clip.clip_layer(skip)
    for prompt, pooled in zip(case["prompts"], expected["pooled"], strict=True):
        with torch.inference_mode():
            result = encoders.pooled_face_prompt(clip, prompt)
        assert (result[0] - pooled).abs().max() <= 1e-2
    assert clip.layer_idx == skip


def test_pooled_face_prompts_in_float32(comfy, clip, encoders, golden, model_files):
    sd = importlib.import_module("comfy.sd")
    utils = importlib.import_module("comfy.utils")
    state = utils.load_torch_file(str(model_files / "checkpoints" / "small.safetensors"))
    prefix = "cond_stage_model.transformer."
    shapes = {key.removeprefix(prefix): value.shape for key, value in state.items() if key.startswith(prefix)}
    exact = sd.load_text_encoder_state_dicts(
        [rule_state("clip_l", shapes)], model_options={"dtype": torch.float32}, clip_type=sd.CLIPType.STABLE_DIFFUSION
    )
    case, expected = golden("text_pooled")
    for prompt, pooled in zip(case["prompts"], expected["pooled"], strict=True):
        with torch.inference_mode():
            result = encoders.pooled_face_prompt(exact, prompt)
        assert (result[0] - pooled).abs().max() <= 1e-4


def test_brackets_and_weights_are_taken_literally(clip, encoders):
    with torch.inference_mode():
        plain, bracketed = (encoders.pooled_face_prompt(clip, text) for text in ("a smile", "a (smile:1.5)"))
        tokens = clip.tokenize("a \\(smile:1.5\\)")
        literal = clip.encode_from_tokens(tokens, return_pooled="unprojected")[1]
    assert not torch.allclose(plain, bracketed)
    assert torch.equal(bracketed, literal.float().cpu())


def test_a_text_projection_has_no_say(comfy, clip, encoders):
    projection = clip.cond_stage_model.clip_l.transformer.text_projection
    with torch.inference_mode():
        before = encoders.pooled_face_prompt(clip, "a smile")
    kept = projection.weight.data
    projection.weight.data = torch.zeros_like(kept)
    try:
        with torch.inference_mode():
            assert torch.equal(encoders.pooled_face_prompt(clip, "a smile"), before)
    finally:
        projection.weight.data = kept


def test_vision_states_are_the_references(vision, encoders, golden):
    """Mean difference up to 0.02 on values of mean 4.6: the host resizes with torch, the reference with Pillow."""
    _, expected = golden("vision_states")
    picture = expected["picture"].float()[None] / 255
    with torch.inference_mode():
        states = encoders.clip_hidden_states(vision, picture)[:, ::16]
        zero = encoders.zero_hidden_states(vision)[:, ::16]
    assert (states - expected["states_every_16th"]).abs().mean() <= 0.02
    assert (zero - expected["zero_states_every_16th"]).abs().max() <= 1e-2


def test_edit_is_the_plain_imr_at_one_and_the_face_itself_at_zero(pack, dynamicid, clip, make_face):
    face = make_face("anna")
    motion_type = pack.load("dynamicid.faces.motion").Motion
    target = rule_input("edit.landmarks", (106, 2)) * 60 + 256
    motion = motion_type(target, torch.tensor([0.0, 30.0, 0.0]), "in a happy expression, in side view")

    def edit(strength, **extra):
        with torch.inference_mode():
            return pack.run(
                "DynamicIDEditFace",
                dynamicid=dynamicid,
                face=face,
                clip=clip,
                target_prompt="",
                source_prompt="",
                strength=strength,
                motion=motion,
                **extra,
            )

    encoders = pack.load("dynamicid.host.encoders")
    to_map = pack.load("dynamicid.faces.landmarks").keypoint_map
    with torch.inference_mode():
        source, wanted = (
            torch.cat(
                [dynamicid.keypoint_encoder(to_map(points)[None]), encoders.pooled_face_prompt(clip, prompt)], dim=1
            )
            for points, prompt in (
                (face.landmarks_106, "in a neutral expression, in front view"),
                (target, motion.prompt),
            )
        )
        expected = dynamicid.imr(face.id_tokens[None], source, wanted)[0]
    edited, used = edit(1.0)
    assert used == "in a neutral expression, in front view"
    assert (edited.id_tokens - expected).abs().max() < 1e-5
    assert torch.equal(edited.negative_tokens, face.negative_tokens)
    assert torch.equal(edited.landmarks_106, target)
    assert edit(0.0)[0] is face
    half = edit(0.5)[0].id_tokens
    assert torch.allclose(half, (face.id_tokens + edited.id_tokens) / 2, atol=1e-5)


def test_many_motions_are_told_show_progress_and_can_be_interrupted(
    comfy, pack, dynamicid, clip, make_face, monkeypatch
):
    management, utils = (importlib.import_module(f"comfy.{name}") for name in ("model_management", "utils"))
    on_node = importlib.import_module("comfy_execution.utils").CurrentNodeContext("a prompt", "7")
    said = []
    page = SimpleNamespace(send_progress_text=lambda text, node: said.append((text, node)))
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace(instance=page)))
    motion_type = pack.load("dynamicid.faces.motion").Motion
    face, steps = make_face("anna"), []
    motion = motion_type(face.landmarks_106, face.pose, "in a happy expression, in front view")
    motions = pack.load("dynamicid.faces.frames").join_frames([motion] * 70)
    inputs = {"dynamicid": dynamicid, "face": face, "clip": clip, "target_prompt": "", "source_prompt": ""}

    def edit():
        steps.clear()
        with torch.inference_mode():
            return pack.run("DynamicIDEditFace", **inputs, strength=1.0, motion=motions)[0]

    monkeypatch.setattr(utils, "PROGRESS_BAR_HOOK", lambda done, total, *args, **options: steps.append((done, total)))
    with on_node:
        assert edit().frame_count == 70
    assert said == [("1 of 70: in a happy expression, in front view", "7")]
    assert steps == [(64, 70), (70, 70)]

    hook = dynamicid.imr.norm_out.register_forward_hook(lambda *_: management.interrupt_current_processing())
    with pytest.raises(management.InterruptProcessingException):
        edit()
    hook.remove()
    assert not steps


def test_a_text_encoder_of_another_width_than_the_imr_takes_is_refused(pack, dynamicid, clip, make_face):
    narrow = SimpleNamespace(out_width=dynamicid.imr.motion_width - 512)
    words = {"target_prompt": "in a happy expression", "source_prompt": "", "strength": 1.0}
    with pytest.raises(ValueError, match=r"^clip: This CLIP is 768 wide, not 512"):
        pack.run(
            "DynamicIDEditFace",
            dynamicid=replace(dynamicid, keypoint_encoder=narrow),
            face=make_face("anna"),
            clip=clip,
            **words,
        )


def test_words_alone_drive_the_edit(pack, dynamicid, clip, make_face):
    face = make_face("anna")
    with torch.inference_mode():
        edited = [
            pack.run(
                "DynamicIDEditFace",
                dynamicid=dynamicid,
                face=face,
                clip=clip,
                target_prompt=words,
                source_prompt="in a sad expression, in front view",
                strength=1.0,
            )
            for words in ("in a happy expression, in front view", "in a sad expression, facing up, in side view")
        ]
    assert not torch.allclose(edited[0][0].id_tokens, edited[1][0].id_tokens)
    assert torch.equal(edited[0][0].landmarks_106, face.landmarks_106)
    assert edited[0][1] == "in a sad expression, in front view"


def test_an_empty_source_prompt_says_the_emotion_read_off_the_photo(pack, dynamicid, clip, make_face):
    """Neutral where none was read; an edited face no longer shows what was read."""

    def edit(face, **inputs):
        words = {"target_prompt": "in a sad expression, in front view", "source_prompt": "", "strength": 1.0, **inputs}
        with torch.inference_mode():
            return pack.run("DynamicIDEditFace", dynamicid=dynamicid, face=face, clip=clip, **words)

    plain, happy = make_face("anna"), replace(make_face("anna"), emotion="happy")
    (neutral, said_neutral), (edited, said) = edit(plain), edit(happy)
    assert said_neutral == "in a neutral expression, in front view"
    assert said == "in a happy expression, in front view"
    own_words = edit(plain, source_prompt=said)[0]
    assert torch.equal(edited.id_tokens, own_words.id_tokens)
    assert not torch.equal(edited.id_tokens, neutral.id_tokens)
    assert edit(edited)[1] == said_neutral
    assert edit(happy, source_prompt=" in a fear expression ")[1] == "in a fear expression"


def test_the_sliders_keep_the_emotion_until_the_expression_moves(pack, make_face):
    happy = replace(make_face("anna"), emotion="happy")
    sliders = {name: 0.0 for name in pack.load("dynamicid.faces.motion_sliders").RANGES}
    for moved, words in (({"yaw": 20.0}, "in a happy expression"), ({"smile": -0.7}, "in a sad expression")):
        motion = pack.run("DynamicIDMotionSliders", face=happy, **{**sliders, **moved})[0]
        assert motion.prompt.startswith(words)


@pytest.fixture
def with_emotion_file(pack, tmp_path, monkeypatch):
    """Puts an emotion network that says ``word`` into the machine's emotion folder: (word) -> its path."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda name: [str(tmp_path / name)])

    def put(word, name="emotion.onnx"):
        path = tmp_path / "dynamicid" / "emotion" / name
        return write_emotion_onnx(path, (1, 1, 64, 64), scores_for(FER_PLUS, word), "Input3")

    return put


def test_face_analysis_brings_the_emotion_network_that_is_there(
    pack, dynamicid, model_files, tmp_path, with_emotion_file, caplog, monkeypatch
):
    """Encode Face and Motion from Image use it; what CLIP sees has no part in that and is made up here."""
    for name in ("clip_hidden_states", "zero_hidden_states"):
        monkeypatch.setattr(pack.load("dynamicid.host.faces"), name, lambda *_: rule_input("states", (1, 257, 1280)))
    monkeypatch.setattr(pack.load("dynamicid.host.faces"), "check_clip_vision", lambda *_: None)
    (tmp_path / "insightface").symlink_to(model_files / "insightface")
    photo = torch.from_numpy(draw_test_faces((256, 256), [(60, 40, 180, 210)])).float()[None] / 255
    loader = pack.nodes["DynamicIDFaceAnalysisLoader"]

    def read():
        with torch.inference_mode(), caplog.at_level("INFO"):
            (finder,) = pack.run("DynamicIDFaceAnalysisLoader", pack="buffalo_l", provider="CPU")
            choice = {"face_analysis": finder, "image": photo, "pick": "largest", "index": 0}
            motion = pack.run("DynamicIDMotionFromImage", **choice)[0]
        return choice, motion.prompt, loader.fingerprint_inputs(pack="buffalo_l", provider="CPU")

    _, plain, first = read()
    assert plain.startswith("in a neutral expression")
    assert "Expressions" not in caplog.text
    path = with_emotion_file("surprise", "b.onnx")
    choice, surprised, second = read()
    assert surprised == plain.replace("neutral", "surprise")
    assert caplog.text.count(f"Expressions in photos are read with {path} (FER+).") == 1
    with_emotion_file("fear", "a.onnx")
    _, afraid, third = read()
    assert afraid == plain.replace("neutral", "fear")
    assert len({first, second, third}) == 3
    with torch.inference_mode():
        face = pack.run("DynamicIDEncodeFace", dynamicid=dynamicid, clip_vision=None, crop="auto", **choice)[0]
    assert face.emotion == "surprise"


def test_a_broken_emotion_network_is_told(pack, model_files, tmp_path, with_emotion_file):
    (tmp_path / "insightface").symlink_to(model_files / "insightface")
    path = with_emotion_file("happiness")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"emotion\.onnx: .* is no sound ONNX file .* to go on without one"):
        pack.run("DynamicIDFaceAnalysisLoader", pack="buffalo_l", provider="CPU")


def test_the_preview_highlights_the_face_that_was_chosen(pack, monkeypatch):
    detected = pack.load("dynamicid.faces.detected").DetectedFace
    faces = [
        detected(
            (x, 20.0, x + 40, 80.0), 0.9, torch.zeros(106, 2).numpy(), torch.zeros(3).numpy(), torch.ones(512).numpy()
        )
        for x in (100.0, 20.0)
    ]
    module, shown = pack.load("dynamicid.host.faces"), []
    monkeypatch.setattr(module, "draw_faces", lambda photo, people, chosen: shown.append((people, chosen)) or photo)
    analyzer = FakeAnalyzer(lambda image: faces if image.shape[1] == 160 else [])
    portraits = module.read_portraits(analyzer, torch.zeros(1, 96, 160, 3), module.Choice("leftmost", 1), crop=False)
    assert len(list(portraits)) == 1
    assert shown == [([faces[1], faces[0]], [1])]
    batch = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1, 1).expand(3, 96, 160, 3)
    analyzer.detect = lambda image: faces if image.max() == 0 else []
    with pytest.raises(ValueError, match=r"image: No face was found in picture 2 of 3\."):
        next(module.read_portraits(analyzer, batch, module.Choice("leftmost", 1), crop=False))


def test_a_box_grows_by_shares_of_its_own_width_and_height(pack, make_face):
    detected = pack.load("dynamicid.faces.detected").DetectedFace
    rest = (0.9, torch.zeros(106, 2).numpy(), torch.zeros(3).numpy(), torch.ones(512).numpy())
    analyzer = FakeAnalyzer(lambda image: [detected((80.0, 40.0, 100.0, 80.0), *rest)])
    inputs = {"face_analysis": analyzer, "image": torch.zeros(1, 100, 200, 3), "order": "left to right"}
    (region,) = pack.run("DynamicIDRegionsFromImage", **inputs, grow=0.25, face_1=make_face("anna"))[0]
    assert region.box_xywh_norm == pytest.approx((75 / 200, 0.3, 30 / 200, 0.6))
    (region,) = pack.run("DynamicIDRegionsFromImage", **inputs, grow=2.0, face_1=make_face("anna"))[0]
    assert region.box_xywh_norm == pytest.approx((0.2, 0.0, 0.5, 1.0))


@pytest.mark.parametrize("node", ["DynamicIDRegionEditor", "DynamicIDRegionsFromImage", "DynamicIDRegionsFromBoxes"])
def test_every_person_may_be_missing(node, pack):
    """Else the host refuses the prompt of a user who mutes or bypasses the loader of person 1."""
    optional = {entry.id: entry.optional for entry in pack.nodes[node].GET_SCHEMA().inputs}
    assert [optional[f"face_{number}"] for number in range(1, 9)] == [True] * 8


def test_sliders_show_no_crop_behind_another_motion(pack, make_face):
    face = replace(make_face("anna"), crop=torch.zeros(8, 8, 3, dtype=torch.uint8))
    module, sliders = pack.load("dynamicid.host.slider_motion"), pack.load("dynamicid.faces.motion_sliders").Sliders()
    other = pack.load("dynamicid.faces.motion_sliders").average_motion()
    assert module.slider_motion(face, None, sliders)[2]["crop"]
    assert not module.slider_motion(face, other, sliders)[2]["crop"]


def test_a_picture_without_a_face_scores_0(pack):
    detected = pack.load("dynamicid.faces.detected").DetectedFace
    unit = torch.eye(512)[0].numpy()
    face = detected((20.0, 20.0, 60.0, 80.0), 0.9, torch.zeros(106, 2).numpy(), torch.zeros(3).numpy(), unit)
    calls = []
    analyzer = FakeAnalyzer(lambda image: calls.append(1) or ([face] if image.any() else []))
    reference, pictures = torch.ones(1, 96, 96, 3), torch.stack([torch.ones(96, 96, 3), torch.zeros(96, 96, 3)])
    score, previews = pack.run("DynamicIDFaceSimilarity", face_analysis=analyzer, reference=reference, image=pictures)
    assert score == pytest.approx(0.5)
    assert previews.shape == (2, 96, 96, 3)
    assert len(calls) == 2  # the reference is one of the pictures
