"""onnxruntime's providers: the combo and the fall-back to the CPU."""

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dynamicid.errors import DynamicIDError
from dynamicid.faces import providers
from dynamicid.faces.analysis import load_face_analysis
from dynamicid.faces.emotions import load_emotion_reader
from dynamicid.faces.packs import TASK_FILES
from dynamicid.faces.providers import available_providers, resolve_provider
from tests.faces.conftest import FakeMachine
from tests.faces.emotion_files import write_emotion_onnx


def test_available_providers_is_auto_then_what_is_there() -> None:
    import onnxruntime

    names = available_providers()
    assert names[0] == "auto"
    assert names[-1] == "CPU"
    assert len(names) <= 1 + len(onnxruntime.get_available_providers())
    assert not any(name.endswith("ExecutionProvider") for name in names)


def test_available_providers_shortens_names_and_leaves_remote_ones_out(fake_machine: FakeMachine) -> None:
    offered = ["CUDAExecutionProvider", "DmlExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"]
    fake_machine(["onnxruntime-gpu"], offered)
    assert available_providers() == ["auto", "CUDA", "DirectML", "CPU"]


def test_available_providers_without_onnxruntime(fake_machine: FakeMachine) -> None:
    fake_machine([], None)
    assert available_providers() == ["auto", "CPU"]


@pytest.mark.parametrize(
    ("asked", "full"),
    [
        ("cpu", "CPUExecutionProvider"),
        ("CUDA", "CUDAExecutionProvider"),
        ("DirectML", "DmlExecutionProvider"),
        ("dml", "DmlExecutionProvider"),
        ("DmlExecutionProvider", "DmlExecutionProvider"),
        ("ROCm", "ROCMExecutionProvider"),
        ("CoreML", "CoreMLExecutionProvider"),
    ],
)
def test_resolve_provider_knows_short_and_full_names(asked: str, full: str, fake_machine: FakeMachine) -> None:
    fake_machine([], ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert resolve_provider(asked).lower() == full.lower()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], "CUDAExecutionProvider"),
        (["DmlExecutionProvider", "CPUExecutionProvider"], "DmlExecutionProvider"),
        (["CoreMLExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"], "CPUExecutionProvider"),
    ],
)
def test_auto_prefers_a_gpu_that_starts_quickly(offered: list[str], chosen: str, fake_machine: FakeMachine) -> None:
    fake_machine([], offered, has_cuda=True)
    assert resolve_provider("auto") == chosen


def test_auto_passes_over_a_cuda_provider_without_a_card(fake_machine: FakeMachine) -> None:
    """onnxruntime-gpu lists CUDA everywhere; trying it on a machine without a card would only give a warning."""
    fake_machine(["onnxruntime-gpu"], ["CUDAExecutionProvider", "CPUExecutionProvider"], has_cuda=False)
    assert resolve_provider("auto") == "CPUExecutionProvider"
    assert resolve_provider("CUDA") == "CUDAExecutionProvider"


def test_provider_that_is_not_offered_falls_back_with_a_warning(
    pack_dir: Path, three_people, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        analyzer = load_face_analysis(pack_dir, "MIGraphX")
    assert analyzer.provider == "CPU"
    assert "MIGraphX could not start (this onnxruntime does not offer it)" in caplog.text
    assert len(analyzer.detect(three_people)) == 3


def test_provider_that_onnxruntime_drops_silently_is_noticed(
    pack_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is listed, but the sessions come up on the CPU without an exception."""
    import onnxruntime

    # A provider that no wheel on PyPI is built with.
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["MIGraphXExecutionProvider", "CPUExecutionProvider"]
    )
    with caplog.at_level(logging.WARNING), pytest.warns(UserWarning, match="MIGraphXExecutionProvider"):
        analyzer = load_face_analysis(pack_dir, "MIGraphX")
    assert analyzer.provider == "CPU"
    assert "came up on CPU" in caplog.text


def test_provider_that_raises_falls_back_with_its_reason(
    pack_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import insightface.model_zoo
    import onnxruntime

    original = insightface.model_zoo.get_model

    def get_model(name: str, providers: list[str], **settings: object) -> object:
        if providers[0] == "DmlExecutionProvider":
            raise RuntimeError("DXGI_ERROR: no adapter\nsecond line")
        return original(name, providers=providers, **settings)

    monkeypatch.setattr(insightface.model_zoo, "get_model", get_model)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["DmlExecutionProvider", "CPUExecutionProvider"]
    )
    with caplog.at_level(logging.WARNING):
        assert load_face_analysis(pack_dir, "DirectML").provider == "CPU"
    assert "DirectML could not start (DXGI_ERROR: no adapter)" in caplog.text


def test_provider_that_fails_at_its_first_run_falls_back(
    pack_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    def run(*_: object) -> None:
        raise RuntimeError("no kernel image is available")

    def pretend(
        files: list[Path], tasks: tuple[str, ...], provider: str, threads: int | None, device: int = 0, **options: bool
    ) -> dict[str, object]:
        networks = original(files, tasks, "CPUExecutionProvider", threads, **options)
        if provider != "CPUExecutionProvider":
            for network in networks.values():
                shape = network.session.get_inputs()[0].shape
                network.session = SimpleNamespace(
                    get_providers=lambda: [provider],
                    get_inputs=lambda shape=shape: [SimpleNamespace(name="x", shape=shape)],
                    run=run,
                )
        return networks

    original = providers._open_all
    monkeypatch.setattr(providers, "_open_all", pretend)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with caplog.at_level(logging.WARNING):
        assert load_face_analysis(pack_dir, "CUDA").provider == "CPU"
    assert "no kernel image is available" in caplog.text


def test_networks_run_on_the_gpu_they_are_given(pack_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import insightface.model_zoo
    import onnxruntime

    asked = []

    def get_model(name: str, **settings: object) -> object:
        asked.append((settings["providers"], settings.get("provider_options")))
        raise RuntimeError("no card")

    monkeypatch.setattr(insightface.model_zoo, "get_model", get_model)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.raises(DynamicIDError):
        load_face_analysis(pack_dir, "CUDA", device=3)
    assert asked == [
        (["CUDAExecutionProvider", "CPUExecutionProvider"], [{"device_id": "3"}, {}]),
        (["CPUExecutionProvider"], None),
    ]


def test_cpu_starts_without_a_warning(pack_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_face_analysis(pack_dir, "auto")
    assert "could not start" not in caplog.text


def test_importing_the_faces_loads_no_heavy_package() -> None:
    root = Path(providers.__file__).parents[2]
    code = (
        "import sys; import dynamicid.faces.analysis, dynamicid.faces.drawing; "
        "print([name for name in ('insightface', 'onnxruntime', 'onnx', 'cv2', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_networks_and_readers_keep_to_the_threads_they_are_given(pack_dir: Path, tmp_path: Path) -> None:
    networks, _ = providers.open_networks(sorted(pack_dir.glob("*.onnx")), tuple(TASK_FILES), "CPU", threads=1)
    assert set(networks) == set(TASK_FILES)
    sessions = [network.session for network in networks.values()]
    model = write_emotion_onnx(tmp_path / "emotions.onnx", (1, 1, 64, 64), [0.0] * 8)
    sessions.append(load_emotion_reader(model, threads=1)._session)
    assert [session.get_session_options().intra_op_num_threads for session in sessions] == [1] * len(sessions)
