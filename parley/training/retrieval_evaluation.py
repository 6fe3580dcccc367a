"""Fits the answerer's decline rule and measures retrieval on customers' questions.

Questions come from BANKING77 and CLINC150. A quarter of each is used to fit, another to measure;
which is decided by a hash of the question, so that a run can be repeated anywhere.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from infra.knowledge_files import SourceDocument, read_knowledge
from parley.training.figures import Bar, Figure
from processors.answering.context import EarlierTurn, TurnContext
from processors.answering.dense import Vectors, to_bytes
from processors.answering.grounded import interpret, prepare
from processors.answering.grounding import SHIPPED, GroundingModel, features
from processors.answering.importing import Draft, assemble
from processors.answering.importing import prepare as draft
from processors.answering.retrieval import KnowledgeIndex, Ranking
from schemas.records import Passage

KNOWLEDGE = Path(__file__).parents[1] / "demo" / "knowledge"
TENANT = "demo"

RIGHT_ARTICLE = Bar(0.85)
DECLINED_OUTSIDE = Bar(0.85)
DECLINED_OWN = Bar(0.10, at_most=True)

# Of the bank's own questions in the fitting part, this share is declined. What the bar leaves is a
# margin for questions that are unlike those seen here.
_DECLINED_IN_FITTING = 0.025

# The rule is fitted on the bank as it is and as it would be with fewer example questions for each
# article, down to its title alone. Fitted on the whole bank only, it trusts example questions so
# much that it declines what only the text of an article answers: 16 % instead of 5 %.
EXAMPLE_QUESTIONS = (None, 3, 1, 0)
_OUT_OF_SCOPE_WEIGHT = 20.0

# CLINC150's questions about banks, cards and money. A bank's articles answer some of them, so
# they are no fair negatives. The second set has no answer in the demo's articles at all.
_MONEY = frozenset(
    """
    account_blocked application_status balance bill_balance bill_due card_declined credit_limit
    credit_limit_change damaged_card direct_deposit exchange_rate expiration_date freeze_account
    greeting goodbye income international_fees international_visa min_payment new_card
    order_status pay_bill pin_change repeat replacement_card_duration report_fraud
    report_lost_card spending_history thank_you transactions transfer travel_alert
    travel_notification what_can_i_ask_you yes no maybe cancel
    apr credit_score improve_credit_score insurance insurance_change interest_rate order_checks
    redeem_rewards rewards_balance rollover_401k routing taxes w2
    """.split()  # noqa: SIM905 -- a table of names reads better than a list of strings
)

Embed = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    label: str


def _part(text: str, parts: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % parts


def _of_part(questions: Iterable[_Question], chosen: int, parts: int = 4) -> tuple[_Question, ...]:
    return tuple(item for item in questions if _part(item.text, parts) == chosen)


def _bank_questions(data_dir: Path) -> list[_Question]:
    with (data_dir / "banking77" / "train.csv").open(newline="", encoding="utf-8") as file:
        return [_Question(row["text"], row["category"]) for row in csv.DictReader(file)]


def _clinc_questions(data_dir: Path, *splits: str) -> list[_Question]:
    stored = json.loads((data_dir / "clinc150" / "train_val.json").read_text(encoding="utf-8"))
    return [_Question(text, label) for split in splits for text, label in stored[split]]


def demo_index(tenant: str, embed: Embed) -> KnowledgeIndex:
    """The knowledge of a demo tenant as an index, embedded on the spot."""
    drafts = [_draft(source) for source in read_knowledge(KNOWLEDGE / tenant)]
    vectors = embed([text for item in drafts for text in item.texts])
    documents, start = [], 0
    for item in drafts:
        part = vectors[start : start + len(item.texts)]
        start += len(item.texts)
        documents.append(assemble(item, part, tenant_id=tenant, imported_at=0, model_digest=""))
    return KnowledgeIndex.build(tenant, documents)


def _draft(source: SourceDocument) -> Draft:
    return draft(
        source.document_id,
        source.title,
        source.text,
        source.questions,
        source.url,
        source.labels,
    )


def _searched(index: KnowledgeIndex, questions: Sequence[_Question], embed: Embed) -> list[Ranking]:
    vectors = embed([item.text for item in questions])
    return [
        index.search(item.text, vector) for item, vector in zip(questions, vectors, strict=True)
    ]


def with_fewer_questions(index: KnowledgeIndex, most: int | None, embed: Embed) -> KnowledgeIndex:
    """The same articles with at most so many example questions; for 0, with their titles."""
    if most is None:
        return index
    titles = embed(index.titles)
    documents = [
        replace(
            document,
            questions=document.questions[:most]
            or (Passage(0, document.title, to_bytes(titles[number])),),
        )
        for number, document in enumerate(index.documents)
    ]
    return KnowledgeIndex.build(index.tenant_id, documents)


def fit_grounding(index: KnowledgeIndex, data_dir: Path, embed: Embed) -> GroundingModel:
    """Fits the decline rule on the first part of the questions."""
    from sklearn.linear_model import LogisticRegression

    own = _of_part(_bank_questions(data_dir), 0)
    groups = [
        (own, 1.0, 1),
        (_of_part(_foreign(data_dir), 0, 12), 1.0, 0),
        (_clinc_questions(data_dir, "oos_train"), _OUT_OF_SCOPE_WEIGHT, 0),
    ]
    inputs: list[tuple[float, ...]] = []
    labels: list[int] = []
    weights: list[float] = []
    for most in EXAMPLE_QUESTIONS:
        variant = with_fewer_questions(index, most, embed)
        for questions, weight, label in groups:
            found = _searched(variant, questions, embed)
            inputs.extend(features(ranking.evidence) for ranking in found)
            labels.extend([label] * len(found))
            weights.extend([weight] * len(found))
    fitted = LogisticRegression(C=10.0, max_iter=1000)
    fitted.fit(np.array(inputs), labels, sample_weight=weights)
    slopes = tuple(float(weight) for weight in fitted.coef_[0])
    model = GroundingModel(slopes, float(fitted.intercept_[0]), 0.5)
    sure = [model.confidence(item.evidence) for item in _searched(index, own, embed)]
    return replace(model, threshold=float(np.quantile(sure, _DECLINED_IN_FITTING)))


def _foreign(data_dir: Path) -> list[_Question]:
    return [item for item in _clinc_questions(data_dir, "train", "val") if item.label not in _MONEY]


def _hits(
    index: KnowledgeIndex, questions: Sequence[_Question], found: Sequence[Ranking]
) -> Figure:
    answers = {
        document.document_id: set(document.labels.get("intents", "").split(","))
        for document in index.documents
    }
    hits = sum(
        any(question.label in answers[article.document_id] for article in ranking.articles[:3])
        for question, ranking in zip(questions, found, strict=True)
    )
    what = "right article among the first three"
    return Figure(what, hits / len(questions), len(questions), RIGHT_ARTICLE)


def _declined(
    what: str, found: Collection[Ranking], model: GroundingModel, bar: Bar | None = None
) -> Figure:
    declined = sum(not model.knows(ranking.evidence) for ranking in found)
    return Figure(what, declined / len(found), len(found), bar)


def _undisturbed(
    index: KnowledgeIndex, questions: Sequence[_Question], embed: Embed, model: GroundingModel
) -> Figure:
    """How often a question gets the answer it would get alone, after an unrelated question."""
    chance = random.Random(7)
    contexts = [
        TurnContext(item.text, (EarlierTurn(chance.choice(questions).text),)) for item in questions
    ]
    prepared = [prepare(context) for context in contexts]
    vectors = embed([text for texts in prepared for text in texts])
    same, start = 0, 0
    for context, texts in zip(contexts, prepared, strict=True):
        part = vectors[start : start + len(texts)]
        start += len(texts)
        same += not interpret(texts, part, index, context, model).in_context
    return Figure("questions undisturbed by an earlier one", same / len(contexts), len(contexts))


def measure(
    index: KnowledgeIndex, data_dir: Path, embed: Embed, model: GroundingModel, thinned: int = 1
) -> list[Figure]:
    """Measures on questions that the decline rule was not fitted on.

    `thinned` takes about one of so many, always the same ones, where time is short.
    """
    own = _of_part(_bank_questions(data_dir), 1, 4 * thinned)
    found = _searched(index, own, embed)
    outside = _searched(index, _clinc_questions(data_dir, "oos_val"), embed)
    foreign = _searched(index, _of_part(_foreign(data_dir), 1, 12 * thinned), embed)
    return [
        _hits(index, own, found),
        _declined("out-of-scope questions declined", outside, model, DECLINED_OUTSIDE),
        _declined("questions of other trades declined", foreign, model),
        _declined("the bank's own questions declined", found, model, DECLINED_OWN),
        _declined(
            "  with titles instead of example questions",
            _searched(with_fewer_questions(index, 0, embed), own, embed),
            model,
        ),
        _undisturbed(index, own, embed, model),
    ]


def evaluate_retrieval(
    data_dir: Path, embed: Embed | None = None, store: Path | None = SHIPPED
) -> list[Figure]:
    """Fits the decline rule, stores it at `store` (unless none), and gives the figures.

    Raises `FileNotFoundError` where the questions are not below `data_dir`.
    """
    if embed is None:
        from infra.inference.encoder import load_encoder

        encoder = load_encoder()
        embed = remembering(lambda texts: encoder.encode(texts).embeddings)
    index = demo_index(TENANT, embed)
    model = fit_grounding(index, data_dir, embed)
    # What is measured is what is stored, rounding included.
    model = GroundingModel.parse(model.dump())
    if store is not None:
        store.write_text(model.dump(), encoding="utf-8")
    return measure(index, data_dir, embed, model)


def remembering(embed: Embed) -> Embed:
    """Embeds each text once, because several figures look at the same questions."""
    seen: dict[str, Vectors] = {}

    def remembered(texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in seen]
        if new:
            seen.update(zip(new, embed(new), strict=True))
        return np.stack([seen[text] for text in texts])

    return remembered
