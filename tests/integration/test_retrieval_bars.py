"""The calibration that ships, measured on customers' questions: every bar is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.inference.encoder import load_encoder
from parley.training.retrieval_evaluation import (
    DECLINED_OUTSIDE,
    DECLINED_OWN,
    RIGHT_ARTICLE,
    TENANT,
    demo_index,
    measure,
    remembering,
)
from processors.answering.grounding import SHIPPED, GroundingModel

QUESTIONS = Path(__file__).parents[3] / "shared" / "data"
THINNED = 4


@pytest.mark.skipif(
    not (QUESTIONS / "banking77" / "train.csv").is_file()
    or not (QUESTIONS / "clinc150" / "train_val.json").is_file(),
    reason="BANKING77 and CLINC150 are not beside this checkout, in ../shared/data",
)
def test_retrieval_with_the_shipped_calibration_reaches_its_bars() -> None:
    encoder = load_encoder()
    embed = remembering(lambda texts: encoder.encode(texts).embeddings)
    model = GroundingModel.parse(SHIPPED.read_text(encoding="utf-8"))
    figures = measure(demo_index(TENANT, embed), QUESTIONS, embed, model, THINNED)
    barred = [figure for figure in figures if figure.bar is not None]
    assert [figure.bar for figure in barred] == [RIGHT_ARTICLE, DECLINED_OUTSIDE, DECLINED_OWN]
    assert all(figure.questions >= 100 for figure in barred)
    assert [f"{f.what}: {f.share:.1%}, {f.bar}" for f in barred if not f.reached] == []
