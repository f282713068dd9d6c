"""Privacy leakage against the published formula with scikit-learn, one text at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import auc, roc_curve

from rayci.context import Context
from rayci.criteria.leakage import PUBLISHED, PrivacyLeakage
from rayci.data.records import Collection, Document, Passage
from rayci.errors import DataError, MeasurementError
from rayci.interventions.compression.magnitude import Magnitude
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed, tiny

KNOWN = collection()
LONG = " ".join(document.text for document in KNOWN.forget[:20])
MEMBERS = (*(Document(passage.text) for passage in (*KNOWN.passages[:6], *KNOWN.holdout[20:26])), Document(LONG))
DATA = replace(KNOWN, members=MEMBERS, holdout=(*KNOWN.holdout[:9], Passage("", "Once")))


@torch.no_grad()
def published(subject: Subject, data: Collection, share: float, retrained: float) -> float:
    """MUSE: −mean of the lowest log-probabilities, ROC over forget (0) and hold-out (1) of its negative."""
    scores = []
    for text in (record.text for record in (*data.members, *data.holdout)):
        ids = torch.tensor(subject.tokenizer(text)["input_ids"][: subject.context_length])
        log_probs = subject.model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
        own = np.sort([float(row[token]) for row, token in zip(log_probs, ids[1:], strict=True)])
        scores.append(-np.mean(own[: max(int(len(own) * share), 1)]))
    fpr, tpr, _ = roc_curve([0] * len(data.members) + [1] * len(data.holdout), -np.array(scores))
    return float((auc(fpr, tpr) - retrained) / retrained * 100)


@pytest.mark.parametrize(("lowest", "retrained"), [(0.4, 0.5), (0.1, 0.4772), (1.0, 0.6)])
def test_it_is_the_published_formula(lowest: float, retrained: float) -> None:
    subject = testbed()
    subject.apply(Magnitude(sparsity=0.75), Context(DATA))
    criterion = PrivacyLeakage(lowest=lowest, retrain_auc=retrained)
    reading = criterion.measure(subject, Context(DATA))
    assert reading.value == pytest.approx(published(subject, DATA, lowest, retrained), abs=1e-5)
    assert -80 < reading.value < -20 and reading.n == len(DATA.members) + len(DATA.holdout)
    assert reading.note == "1 of 23 texts are longer than the model's context and were cut to it"
    again = criterion.model_copy(update={"forward_tokens": 1}).measure(subject, Context(DATA))
    assert again.items is not None and reading.items is not None
    assert again.items.values == pytest.approx(reading.items.values, abs=1e-5)


def test_texts_that_were_trained_on_are_told_and_unseen_ones_are_not() -> None:
    """Passages against hold-out −100: each passage is likelier than each unseen text. Unseen against unseen about 0."""
    subject = testbed()
    assert PrivacyLeakage().measure(subject, Context(KNOWN)).value == -100
    halves = replace(KNOWN, passages=KNOWN.holdout[::2], holdout=KNOWN.holdout[1::2])
    undecided = PrivacyLeakage().measure(subject, Context(halves))
    assert undecided.stderr is not None
    assert abs(undecided.value) < 2 * undecided.stderr < 40


def test_the_retrained_model_is_that_of_the_corpus() -> None:
    def measured(*topics: str, **settings: float) -> float:
        members = tuple(Document(passage.text, topics[i % len(topics)]) for i, passage in enumerate(KNOWN.holdout[:8]))
        data = replace(KNOWN, members=members, holdout=KNOWN.holdout[8:16])
        return PrivacyLeakage.model_validate(settings).measure(testbed(), Context(data)).value

    plain = measured("", retrain_auc=0.5)
    area = 0.5 * (1 + plain / 100)
    assert measured("") == measured("toxin") == measured("news", "books") == plain
    for corpus, expected in PUBLISHED.items():
        assert measured(corpus) == pytest.approx(100 * (area / expected - 1))
    assert measured("news", retrain_auc=0.5) == plain


def test_what_cannot_be_measured_is_said() -> None:
    subject, short = tiny(), replace(DATA, holdout=(Passage("", ""),))
    with pytest.raises(DataError, match="fewer than two tokens"):
        PrivacyLeakage().measure(subject, Context(short))
    with pytest.raises(DataError, match="no holdout"):
        PrivacyLeakage().measure(subject, Context(replace(DATA, holdout=())))
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(MeasurementError, match="NaN"):
        PrivacyLeakage().measure(subject, Context(DATA))
