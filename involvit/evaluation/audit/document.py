"""An audit as the sections of a report: first what needs attention, then tables and figures."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict, concatenate_datasets
from matplotlib.figure import Figure

from dataset_script import LABELS

from ...colors import class_colors
from ...pixels import to_rgb
from ...reports.blocks import Block, Bullets, Paragraph, Picture, Section, Table
from ...reports.figures import image_grid, label_bars, new_figure, series_style, tidy
from ...reports.numbers import count, percent
from .measure import MAX_SHARE, Audit
from .votes import vote_blocks

MIN_GROUPS = 5
"""A class of fewer films or persons says little about others."""
MAX_IMBALANCE = 10
"""Largest class over smallest above which training needs class weights or the like."""
_PAIRS_SHOWN, _DOUBTFUL_SHOWN = 12, 24
_PERSON, _PERSONS = "film or person", "films or persons"


def audit_sections(audit: Audit, parts: DatasetDict, model: str) -> list[Section]:
    """Writes the report.

    Args:
        audit: What was found.
        parts: The data set it was found in, for its images.
        model: Name of the model whose features were taken.
    """
    rows = concatenate_datasets(list(parts.values()))
    return [
        Section("Findings", [Bullets(findings(audit) or ["Nothing was found that calls for action."])]),
        Section("Classes", _class_blocks(audit)),
        Section("Images", _image_blocks(audit)),
        Section("Films and persons", _group_blocks(audit)),
        Section("Duplicates", _duplicate_blocks(audit, rows)),
        *([Section("What people say", vote_blocks(audit, rows))] if len(audit.voted) else []),
        Section("Doubtful labels", _doubtful_blocks(audit, rows, model)),
    ]


def findings(audit: Audit) -> list[str]:
    """Says what is wrong with the data, ordered by its effect on results: measures, classes, labels, images.

    Args:
        audit: What was found.

    Returns:
        Sentences; none for a data set without faults.
    """
    images, classes, duplicates = audit.images, audit.classes, audit.duplicates
    found = []
    for part, row in audit.shared_groups.iterrows():
        if row["of_train_groups"]:
            found.append(
                f"{percent(row['of_train_groups'] / row['images'])} of the {row['images']:,} images of {part} show a "
                f"{_PERSON} that train shows too: scores measured there are too high. Split by group."
            )
    is_across = duplicates["part_a"] != duplicates["part_b"]
    if is_across.any():
        repeated = duplicates.loc[is_across, "row_b"].nunique()
        found.append(f"Held-out images that repeat an image of another part: {repeated:,}. Drop the duplicates.")
    for label, row in audit.dominated.iterrows():
        found.append(
            f"{percent(row['largest_group_images'] / row['images'])} of the {row['images']:,} images of {label} show "
            f"one {_PERSON} ({row['largest_group']})."
        )
    for label, row in classes[classes["groups"] < MIN_GROUPS].iterrows():
        groups = f" of {row['groups']} {_PERSON if row['groups'] == 1 else _PERSONS}" if row["groups"] else ""
        found.append(f"{label} has {count(row['images'], 'image')}{groups}.")
    counts = classes.loc[classes["images"] > 0, "images"]
    if counts.max() > MAX_IMBALANCE * counts.min():
        found.append(
            f"{counts.idxmax()} has {counts.max() / counts.min():.0f} times as many images as {counts.idxmin()}. Judge "
            "models by macro F1, and weight the classes."
        )
    if len(audit.contradicting):
        found.append(
            f"{len(audit.contradicting)} of {count(len(duplicates), 'pair')} of duplicates have two labels: one of "
            "the two is wrong, or the face is between two expressions."
        )
    elif len(duplicates):
        found.append(f"{count(len(duplicates), 'pair')} of images are duplicates, each pair with one label.")
    if len(audit.divided):
        found.append(
            f"People are divided on {percent(len(audit.divided) / len(audit.voted))} of {len(audit.voted):,} images "
            f"with votes; on average {percent(audit.voted['agreement'].mean())} of the people gave the label. Train on "
            "votes, and compare models with one person's accuracy."
        )
    if len(audit.doubtful):
        judged = sum(audit.judged.values())
        found.append(
            f"{count(len(audit.doubtful), 'label')} of {judged:,} are doubtful "
            f"({percent(len(audit.doubtful) / judged)}): {_most_frequent(audit.doubtful)}."
        )
    if is_uniform := int(images["is_uniform"].sum()):
        found.append(f"{count(is_uniform, 'image')} of one colour show nothing.")
    grey = images.groupby("label")["is_grey"].mean()
    if grey.min() < grey.max():
        found.append(
            f"{percent(images['is_grey'].mean())} of the images are grey, from {percent(grey.min())} of "
            f"{grey.idxmin()} to {percent(grey.max())} of {grey.idxmax()}: a model may confuse colour and expression."
        )
    if audit.left_out:
        found.append(" ".join(audit.left_out.splitlines()))
    return found


def _most_frequent(doubtful: pd.DataFrame) -> str:
    (given, suggested), number = next(iter(doubtful[["given", "suggested"]].value_counts(sort=True).items()))
    return f"most often {given} that looks like {suggested} ({number})"


def _class_blocks(audit: Audit) -> list[Block]:
    counts = audit.class_counts
    figure = new_figure(1 + 3.3 * len(counts.columns), 3.2)
    for axes, (part, column) in zip(
        figure.subplots(1, len(counts.columns), squeeze=False)[0], counts.items(), strict=True
    ):
        positions = np.arange(len(LABELS))
        axes.bar(positions, column, color=list(class_colors(LABELS).values()), edgecolor="black", linewidth=0.6)
        axes.margins(y=0.1)
        label_bars(axes, positions, column, [f"{count:,}" for count in column])
        tidy(axes, ylabel="images", title=f"{part} ({column.sum():,})")
        axes.set_xticks(positions, LABELS, rotation=45, ha="right", rotation_mode="anchor")
    table = counts.assign(all=counts.sum(axis=1))
    grey = audit.images.groupby("label")["is_grey"].mean()
    unlabelled = int(audit.images["label"].isna().sum())
    return [
        Table(
            ["class", *table.columns, "share", "grey"],
            [
                [label, *map(int, row), percent(row["all"] / table["all"].sum()), percent(grey.get(label, math.nan))]
                for label, row in table.iterrows()
            ],
            "Labelled images by part. Grey is the share of images without colour."
            + (f" {count(unlabelled, 'image')} without a label." if unlabelled else ""),
        ),
        Picture("class_balance", figure, "Images of each class in each part."),
    ]


def _image_blocks(audit: Audit) -> list[Block]:
    sizes = audit.sizes
    header = ["part", "images", "width", "height", "square", "grey", "one colour"]
    table = Table(
        header,
        [
            [part, row["images"], *(" / ".join(map(str, row[side])) for side in ("width", "height")),
             percent(row["square"]), percent(row["grey"]), row["uniform"]]
            for part, row in sizes.iterrows()
        ],
        "Width and height in pixels: least / median / largest. Grey is an image whose channels are equal up to what "
        "JPEG leaves, however it is stored.",
    )  # fmt: skip
    shorter = audit.images[["width", "height"]].min(axis=1)
    if shorter.nunique() == 1:
        return [table, Paragraph(f"The shorter side of every image is {shorter.iloc[0]} pixels long.")]
    figure = new_figure(6.5, 2.8)
    axes = figure.subplots()
    axes.hist(
        shorter, bins=min(40, shorter.nunique()), color=series_style(0)["color"], edgecolor="black", linewidth=0.6
    )
    tidy(axes, xlabel="shorter side (pixels)", ylabel="images")
    return [table, Picture("sizes", figure, "Length of the shorter side of the images of all parts.")]


def _group_blocks(audit: Audit) -> list[Block]:
    classes = audit.classes
    if len(audit.images) == audit.images["group"].nunique():
        return [Paragraph("Every image is a group of its own: the data does not say which film or person it shows.")]
    blocks: list[Block] = [
        Table(
            ["class", "images", "groups", "images per group", "largest group", "its images", "its share"],
            [
                [label, row["images"], row["groups"], row["images"] / row["groups"], row["largest_group"],
                 row["largest_group_images"], percent(row["largest_group_images"] / row["images"])]
                for label, row in classes[classes["images"] > 0].iterrows()
            ],
            f"A group is a {_PERSON}, by file name or the data's own column. Labelled images of all parts.",
        ),
        Picture(
            "groups",
            _groups_figure(audit),
            f"Shares of the five largest groups of each class, and of all others in white. Above {percent(MAX_SHARE)} "
            "(dashed) one group dominates the class.",
        ),
    ]  # fmt: skip
    if len(audit.shared_groups):
        rows = [
            [part, row["images"], row["of_train_groups"], percent(row["of_train_groups"] / row["images"])]
            for part, row in audit.shared_groups.iterrows()
        ]
        blocks.append(Table(["part", "images", "of groups of train", "share"], rows))
    return blocks


def _groups_figure(audit: Audit) -> Figure:
    labels = [label for label in LABELS if audit.classes.loc[label, "images"]]
    figure = new_figure(8, 0.8 + 0.4 * len(labels))
    axes = figure.subplots()
    for place, label in enumerate(labels):
        shares = audit.images.loc[audit.images["label"] == label, "group"].value_counts(normalize=True)
        largest = shares.head(5)
        starts = largest.cumsum() - largest
        color = class_colors(LABELS)[label]
        axes.barh(place, 1, color="white", edgecolor="black", linewidth=0.6, clip_on=False)
        axes.barh([place] * len(largest), largest, left=starts, color=color, edgecolor="black", linewidth=0.6)
        name = str(largest.index[0])
        name = name if len(name) <= 24 else f"{name[:23]}…"
        axes.annotate(
            f"{percent(largest.iloc[0])} {name}", (1.01, place), va="center", fontsize=8, annotation_clip=False
        )
    axes.axvline(MAX_SHARE, color="black", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}%")
    tidy(axes, xlabel="share of the images of the class")
    return figure


def _duplicate_blocks(audit: Audit, rows: Dataset) -> list[Block]:
    duplicates, contradicting = audit.duplicates, audit.contradicting
    if not len(duplicates):
        return [Paragraph("No two images repeat each other.")]
    table = duplicates.groupby(["part_a", "part_b"], sort=False)[["is_exact", "is_contradicting"]].agg(["size", "sum"])
    blocks: list[Block] = [
        Table(
            ["part", "other part", "pairs", "the same pixels", "two labels"],
            [
                [*key, int(row["is_exact", "size"]), int(row["is_exact", "sum"]), int(row["is_contradicting", "sum"])]
                for key, row in table.iterrows()
            ],
            "Pairs by perceptual hash: the same photograph, even if saved again, resized or of another contrast. "
            "Images of one colour are left out. report.json lists all pairs.",
        )
    ]
    if len(contradicting):
        shown = contradicting.head(_PAIRS_SHOWN)
        numbers = range(1, len(shown) + 1)
        labels = shown[["label_a", "label_b"]].to_numpy().ravel()
        images = [to_rgb(rows[row]["image"]) for row in shown[["row_a", "row_b"]].to_numpy().ravel().tolist()]
        names = [f"{number}{side}" for number in numbers for side in "ab"]
        captions = [f"{name}  {label}" for name, label in zip(names, labels, strict=True)]
        blocks += [
            Picture(
                "contradicting_duplicates",
                image_grid(images, captions, labels, together=2),
                f"The first {len(shown)} of {count(len(contradicting), 'pair')} of duplicates with two labels.",
            ),
            Table(
                ["pair", "a", "label of a", "b", "label of b", "differing bits"],
                [
                    [number, row.path_a, row.label_a, row.path_b, row.label_b, row.distance]
                    for number, row in zip(numbers, shown.itertuples(), strict=True)
                ],
                "The pairs of the picture. Differing bits of 256.",
            ),
        ]
    return blocks


def _doubtful_blocks(audit: Audit, rows: Dataset, model: str) -> list[Block]:
    doubtful = audit.doubtful["given"].value_counts().reindex(LABELS, fill_value=0).to_dict()
    blocks: list[Block] = [
        Paragraph(
            f"Each label was judged by logistic regression on the features of {model}, fitted on images of other films "
            "and persons. Doubtful is a label whose image confidently belongs to another class (Northcutt et al., "
            "Confident Learning, JAIR 2021). Look before you change anything: a doubtful label may be right, and a "
            "wrong one may go unnoticed."
        ),
        Paragraph(
            "If the model was trained on these very labels, its features follow them, mistakes included, and too few "
            "are found. The default model was trained on FER+, the images of FER2013, and on the wild faces: to "
            "audit these, name another by --model."
        ),
        Table(
            ["class", "images", "judged", "doubtful", "share of judged"],
            [
                [label, images, audit.judged[label], doubtful[label],
                 percent(doubtful[label] / (audit.judged[label] or math.nan))]
                for label, images in audit.classes["images"].items()
                if images
            ],
            "Not judged are images of a class that no other film or person shows, or of one that is too rare to learn.",
        ),
    ]  # fmt: skip
    if len(audit.doubtful):
        shown = audit.doubtful.head(_DOUBTFUL_SHOWN)
        shown = shown.assign(number=range(1, len(shown) + 1))
        captions = [
            f"{row.number}  {row.given} {100 * row.given_probability:.0f}%\n"
            f"→ {row.suggested} {100 * row.suggested_probability:.0f}%"
            for row in shown.itertuples()
        ]
        images = [to_rgb(rows[row]["image"]) for row in shown["row"].tolist()]
        blocks += [
            Table(
                ["label", *LABELS],
                [[label, *map(int, counts)] for label, counts in zip(LABELS, audit.joint, strict=True)],
                "Confident joint: images by label (down) and by the class they confidently belong to (across). Images "
                "that are confidently of no class are left out.",
            ),
            Picture(
                "doubtful_labels",
                image_grid(images, captions, shown["given"].tolist()),
                f"The {len(shown)} most doubtful of {count(len(audit.doubtful), 'label')}, framed in the colour of "
                "the label: label and class suggested, with their probabilities.",
            ),
            Table(
                ["number", "part", "image", "label", "suggested"],
                [[row.number, row.part, row.path, row.given, row.suggested] for row in shown.itertuples()],
                "The images of the picture. report.json lists all doubtful labels.",
            ),
        ]
    return blocks
