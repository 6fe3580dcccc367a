"""Where the model comes from and where it runs: every command goes by the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_stack import RunningStack, run_parley

from infra.inference.artifacts import ArtifactTampered, ModelCache, ModelFiles
from parley.exits import Exit
from parley.local_stack import fetch_everything


@pytest.fixture(scope="module")
def model_files() -> ModelFiles:
    return ModelCache().ensure()


def set_cache(data: Path, cache: Path) -> None:
    """Names a cache in the settings of a data folder."""
    data.mkdir()
    (data / "settings.toml").write_text(f'[inference]\nmodel_cache = "{cache}"\n')


def damaged_cache(folder: Path) -> ModelCache:
    """A cache whose model is another: whoever looks into it refuses."""
    cache = ModelCache(folder)
    cache.model_folder.mkdir(parents=True)
    (cache.model_folder / "model.safetensors").write_bytes(b"not the model")
    return cache


def test_pulling_fills_the_cache_that_the_settings_name(
    tmp_path: Path, model_files: ModelFiles
) -> None:
    cache = ModelCache(tmp_path / "named")
    cache.model_folder.parent.mkdir(parents=True)
    cache.model_folder.symlink_to(model_files.weights.parent)
    set_cache(tmp_path / "data", cache.folder)
    # Without a network, nothing but what is there already can be found.
    elsewhere = {"PIP_NO_INDEX": "1", "PARLEY_CACHE": str(tmp_path / "elsewhere")}
    arguments = ("models", "pull", "--json", "--data", str(tmp_path / "data"))
    answered = run_parley(*arguments, **elsewhere)
    assert answered.code == 0, answered.err
    assert answered.json["path"] == str(cache.model_folder / "model.safetensors")
    assert not (tmp_path / "elsewhere").exists()


def test_a_stack_that_starts_looks_into_the_cache_that_its_settings_name(tmp_path: Path) -> None:
    cache = damaged_cache(tmp_path / "named")
    set_cache(tmp_path / "data", cache.folder)
    with pytest.raises(ArtifactTampered, match=str(cache.model_folder)):
        fetch_everything(tmp_path / "data")


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_knowledge_is_embedded_by_the_model_that_the_settings_name(
    stack: RunningStack, tmp_path: Path
) -> None:
    article = tmp_path / "article.md"
    article.write_text("# Lost umbrellas\n\nWe keep lost umbrellas for a year.\n")
    arguments = ("knowledge", "import", str(article), "--tenant", "umbrellas")
    arguments += ("--data", str(stack.folder))
    cache = damaged_cache(tmp_path / "named")
    refused = run_parley(*arguments, PARLEY_INFERENCE__MODEL_CACHE=str(cache.folder))
    assert (refused.code, str(cache.model_folder) in refused.err) == (Exit.REFUSED, True)
    nowhere = run_parley(*arguments, PARLEY_INFERENCE__PROVIDERS="coreml")
    assert (nowhere.code, "coreml" in nowhere.err.lower()) == (Exit.USAGE, True)
    assert run_parley(*arguments).code == Exit.OK
