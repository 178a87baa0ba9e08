"""How divided people are on the faces of a data set, for its audit."""

from __future__ import annotations

from datasets import Dataset

from dataset_script.votes import ANSWERS

from ...pixels import to_rgb
from ...reports.blocks import Block, Picture, Table
from ...reports.figures import image_grid
from ...reports.numbers import percent
from .measure import MIN_AGREEMENT, Audit

_SHOWN = 24


def vote_blocks(audit: Audit, rows: Dataset) -> list[Block]:
    """Shows how far people agree on the label, by class, and the images (of all parts) on which they agree least."""
    shown = audit.voted.head(_SHOWN)
    counts = rows.select(shown.index)["vote_counts"]
    by_count = [sorted(zip(row, ANSWERS, strict=True), key=lambda pair: -pair[0]) for row in counts]
    answers = [[f"{answer} {count}" for count, answer in row if count] for row in by_count]
    captions = [f"{number}  {first}\n{', '.join(rest[:1])}" for number, (first, *rest) in enumerate(answers, start=1)]
    lines = [
        [label, int(row["images"]), percent(row["agreement"]), row["vote_entropy"], int(row["divided"])]
        for label, row in audit.agreement.iterrows()
    ]
    total = audit.voted[["agreement", "vote_entropy"]].mean()
    lines.append(["all", len(audit.voted), percent(total["agreement"]), total["vote_entropy"], len(audit.divided)])
    return [
        Table(
            ["class", "images", "gave the label", "entropy of the votes", "divided"],
            lines,
            "Labelled images with the answers of two or more people: what share of them gave the label, on average, "
            "and the mean entropy of their votes for the seven classes (in nats: 0 where all agree, 0.693 where two "
            f"classes have half each). Divided: fewer than {MIN_AGREEMENT:.0%} gave the label. There, most people "
            "contradict even a perfect model.",
        ),
        Picture(
            "divided",
            image_grid([*map(to_rgb, rows.select(shown.index)["image"])], captions, shown["label"].tolist()),
            f"The {len(shown)} images on whose label people agree least, framed in the colour of the label: the two "
            "most frequent answers, and how many people gave them.",
        ),
        Table(
            ["number", "part", "image", "label", "answers"],
            [
                [number, row.part, row.path, row.label, ", ".join(texts)]
                for number, (row, texts) in enumerate(zip(shown.itertuples(), answers, strict=True), start=1)
            ],
            "The images of the picture. report.json lists all on which people are divided.",
        ),
    ]
