"""Each network: shapes, golden values, gradients."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from dynamicid.models import IMR, FaceProjector, KeypointEncoder
from tests.standin.rule import rule_input
from tests.standin.weight_files import network_state

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
TOLERANCE = 2e-5


def by_rule(prefix, network):
    network.load_state_dict(network_state(prefix, network))
    return network.eval()


def golden(name):
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        case = json.loads(file.metadata()["case"])
        return case, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)


@torch.no_grad()
def test_face_projector_is_the_references():
    case, expected = golden("a_projector")
    embedding = rule_input("a.id_embed", case["id_embed"])
    embedding = embedding / embedding.norm(dim=-1, keepdim=True)
    tokens = by_rule("projector", FaceProjector())(embedding, rule_input("a.clip_hidden", case["clip_hidden"]))
    assert (tokens - expected["tokens"]).abs().max() <= TOLERANCE


@torch.no_grad()
def test_keypoint_encoder_is_the_references():
    case, expected = golden("a_keypoints")
    maps = torch.where(rule_input("a.maps", case["maps"]) > 2.4, 1.0, -1.0)
    features = by_rule("keypoints", KeypointEncoder())(maps)
    assert (features - expected["features"]).abs().max() <= TOLERANCE


@torch.no_grad()
def test_imr_is_the_references():
    case, expected = golden("a_imr")
    imr = by_rule("imr", IMR(depth=case["depth"]))
    inputs = [rule_input(f"a.{name}", case[name]) for name in ("id_tokens", "src_motion", "tgt_motion")]
    assert (imr(*inputs) - expected["tokens"]).abs().max() <= TOLERANCE


@torch.no_grad()
def test_one_source_driving_many_targets_equals_one_by_one():
    imr = by_rule("imr", IMR())
    tokens, source = rule_input("many.tokens", (1, 4, 768)), rule_input("many.source", (1, 1536))
    targets = rule_input("many.targets", (5, 1536))
    together = imr(tokens, source, targets)
    alone = torch.cat([imr(tokens, source, target[None]) for target in targets])
    assert (together - alone).abs().max() <= TOLERANCE


@pytest.mark.parametrize(
    ("network", "inputs", "shape"),
    [
        (FaceProjector(64, 32, 3, 128, 96, 2), [(2, 64), (2, 7, 96)], (2, 3, 128)),
        (IMR(128, 96, 64, 2, 3), [(1, 3, 128), (1, 96), (5, 96)], (5, 3, 128)),
        (KeypointEncoder(4, ((8, 1), (8, 0), (16, 2), (16, 1), (32, 1)), 24), [(2, 1, 96, 96)], (2, 24)),
    ],
)
def test_shapes_and_gradients_at_other_sizes(network, inputs, shape):
    """Every parameter and every input takes part. Batch statistics would cancel a bias, hence evaluation mode."""
    by_rule("small", network)
    tensors = [rule_input(f"small.{i}", size).requires_grad_() for i, size in enumerate(inputs)]
    output = network(*tensors)
    assert output.shape == shape
    (output * rule_input("small.direction", shape)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-6, name
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 1e-6 for tensor in tensors)
