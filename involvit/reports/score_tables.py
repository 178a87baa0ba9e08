"""What a report says where several people labelled each face: models and one person against their votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...reports.blocks import Paragraph, Section, Table, percent
from .measure import ModelMeasurements

CALIBRATION_NOTE = (
    "All of this takes the majority for the truth. A model that says 60% where 6 of 10 people agree is right about the "
    "people; but as the majority is right every time by definition, the model looks underconfident here. Whether its "
    "probabilities are shares of people is shown by the cross-entropy to the votes, above."
)


def has_votes(models: Mapping[str, ModelMeasurements]) -> bool:
    """Returns whether the faces came with votes, so that there is something to show."""
    return all({"cross_entropy_to_votes", "human_accuracy"} <= model.metrics.keys() for model in models.values())


def vote_section(models: Mapping[str, ModelMeasurements]) -> Section:
    """Sets models beside a single person drawn from the voters.

    Args:
        models: Name -> measurements, with votes.
    """
    people = next(iter(models.values())).metrics  # what is said of people is the same beside each model

    def per_cent(metrics: Mapping[str, Any], *names: str) -> list[str]:
        return [percent(metrics[name])[:-1] for name in names]

    lines = [
        [
            name,
            *per_cent(model.metrics, "voted_accuracy", "agreement_with_person"),
            model.metrics["cross_entropy_to_votes"],
            model.metrics["js_divergence_to_votes"],
        ]
        for name, model in models.items()
    ]
    lines += [
        ["one person", *per_cent(people, "human_accuracy", "human_agreement_with_person"), None, None],
        ["the votes themselves", "100.0", *per_cent(people, "human_majority_share"), people["entropy_of_votes"], 0.0],
    ]
    some, every = people["num_voted"], people["num_images"]
    which = f"{some:,} of the {every:,}" if some < every else f"all {every:,}"
    others = " Accuracy and agreement cover only images with votes; in the last two columns others count as unanimous."
    return Section(
        "Against what people say",
        [
            Paragraph(
                f"Several people said what they see in {which} images, and the label is what most of them said. One of "
                "them, drawn at random, is the yardstick: how often that person says what most of the others say, and "
                "how often what another one says."
            ),
            Table(
                (
                    "Answers of",
                    "Accuracy, %",
                    "Agreement with one person, %",
                    "Cross-entropy to the votes",
                    "Jensen-Shannon",
                ),
                lines,
                "Accuracy: the answer is that of the majority. Agreement: a person drawn at random gave the same "
                "answer. Cross-entropy and Jensen-Shannon divergence say how far the probabilities are from the whole "
                "vote, in nats; lower is better, and the last row is the best that can be."
                + (others if some < every else ""),
            ),
        ],
    )
