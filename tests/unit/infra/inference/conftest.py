"""The real encoder, loaded once; the model is fetched if the cache does not have it."""

import pytest

from infra.inference.artifacts import ModelCache, ModelFiles
from infra.inference.encoder import Encoder, load_encoder


@pytest.fixture(scope="session")
def model_files() -> ModelFiles:
    return ModelCache().ensure()


@pytest.fixture(scope="session")
def encoder(model_files: ModelFiles) -> Encoder:
    return load_encoder(devices=["cpu"])
