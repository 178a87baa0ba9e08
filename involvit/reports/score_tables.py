"""Tables of what the `fer_report` metric returns: class by class, and models beside the people who judged the faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .blocks import Paragraph, Table
from .numbers import percent

SCORES = {"accuracy": "Accuracy", "macro_precision": "Precision", "macro_recall": "Recall", "macro_f1": "F1"}
"""Keys of the metric -> headings of the columns that hold them."""

_ANSWERS = {
    "voted_accuracy": "Accuracy, %",
    "agreement_with_person": "Agreement with one person, %",
    "cross_entropy_to_votes": "Cross-entropy to the votes",
    "js_divergence_to_votes": "Jensen-Shannon",
}


def per_class_table(
    metrics: Mapping[str, Any],
    caption: str = "",
    decimals: int = 3,
    further: Mapping[str, Mapping[str, float]] | None = None,
) -> Table:
    """Returns how well each class is recognized; see `Table`.

    `further` maps the heading of a further column to classes and their values; a class may be missing.
    """
    columns = {"Images": "support", "Precision": "precision", "Recall": "recall", "F1": "f1"}
    further = further or {}
    rows = [
        (label, *map(values.get, columns.values()), *(column.get(label) for column in further.values()))
        for label, values in metrics["per_class"].items()
    ]
    return Table(("Class", *columns, *further), rows, caption, decimals)


def has_votes(metrics: Mapping[str, Any]) -> bool:
    """Returns whether several people labelled one face, so that there is something to compare a model with."""
    return "human_accuracy" in metrics


def vote_blocks(models: Mapping[str, Mapping[str, Any]]) -> list[Paragraph | Table]:
    """Compares models with a single person drawn from the voters.

    `models` maps names to results of the metric, all on the same faces with votes.
    """
    people = next(iter(models.values()))  # what is said of people is the same in each result
    answers = {name: [*map(metrics.get, _ANSWERS)] for name, metrics in models.items()}
    answers["one person"] = [people["human_accuracy"], people["human_agreement_with_person"], None, None]
    answers["the votes themselves"] = [1, people["human_majority_share"], people.get("entropy_of_votes"), 0.0]
    rows = [(name, percent(right, ""), percent(agrees, ""), *rest) for name, (right, agrees, *rest) in answers.items()]
    some, every = people["num_voted"], people["num_images"]
    which, others = f"all {every:,}", ""
    if some < every:
        which = f"{some:,} of the {every:,}"
        others = " Accuracy and agreement cover only images with votes; in the last two columns the others count as "
        others += "unanimous."
    text = (
        f"Several people said what they see in {which} images, and the label is what most of them said. The yardstick "
        "is one of them, drawn at random: how often that person says what most of the others say, and how often what "
        "another one says."
    )
    caption = (
        "Accuracy: the answer is that of the majority. Agreement: a person drawn at random gave the same answer. "
        "Cross-entropy and Jensen-Shannon divergence say how far the probabilities are from all votes, in nats; lower "
        f"is better, and the last row is the best possible.{others}"
    )
    return [Paragraph(text), Table(("Answers of", *_ANSWERS.values()), rows, caption)]
