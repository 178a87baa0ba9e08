"""An audit as the sections of a report: first what needs attention, then tables and figures."""

from __future__ import annotations

from datasets import Dataset, DatasetDict, concatenate_datasets
from matplotlib.figure import Figure

from dataset_script import LABELS

from ...colors import CLASS_COLORS
from ...pixels import to_rgb
from ...reports.blocks import Block, Bullets, Paragraph, Picture, Section, Table
from ...reports.figures import image_grid, new_figure, series_style, tidy
from ...reports.numbers import count, percent
from .measure import MAX_SHARE, Audit
from .votes import vote_blocks

MIN_GROUPS = 5
"""A class of fewer films or persons says little about others."""
MAX_IMBALANCE = 10
"""Largest class over smallest above which training needs class weights or the like."""
_PAIRS_SHOWN, _DOUBTFUL_SHOWN = 12, 24
_EDGE = {"edgecolor": "black", "linewidth": 0.6}


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

    A data set without faults gets no sentence.
    """
    images, classes, duplicates = audit.images, audit.classes, audit.duplicates
    found = [
        f"{percent(row['of_train_groups'] / row['images'])} of the {row['images']:,} images of {part} show a film or "
        "person that train shows too: scores measured there are too high. Split by group."
        for part, row in audit.shared_groups.iterrows()
        if row["of_train_groups"]
    ]
    is_across = duplicates["part_a"] != duplicates["part_b"]
    if repeated := duplicates.loc[is_across, "row_b"].nunique():
        found.append(f"Held-out images that repeat an image of another part: {repeated:,}. Drop the duplicates.")
    found += [
        f"{percent(row['largest_group_images'] / row['images'])} of the {row['images']:,} images of {label} show one "
        f"film or person ({row['largest_group']})."
        for label, row in audit.dominated.iterrows()
    ]
    for label, row in classes[classes["groups"] < MIN_GROUPS].iterrows():
        whose = "film or person" if row["groups"] == 1 else "films or persons"
        groups = f" of {row['groups']} {whose}" if row["groups"] else ""
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
    if doubtful := len(audit.doubtful):
        judged = sum(audit.judged.values())
        (given, suggested), number = next(iter(audit.doubtful[["given", "suggested"]].value_counts().items()))
        found.append(
            f"{count(doubtful, 'label')} of {judged:,} are doubtful ({percent(doubtful / judged)}): most often {given} "
            f"that looks like {suggested} ({number})."
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


def _class_blocks(audit: Audit) -> list[Block]:
    counts = audit.class_counts
    figure = new_figure(1 + 3.3 * len(counts.columns), 3.2)
    panels = figure.subplots(1, len(counts.columns), squeeze=False)[0]
    for axes, (part, column) in zip(panels, counts.items(), strict=True):
        bars = axes.bar(range(len(LABELS)), column, color=list(CLASS_COLORS.values()), **_EDGE)
        axes.margins(y=0.1)
        axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
        tidy(axes, ylabel="images", title=f"{part} ({column.sum():,})")
        axes.set_xticks(range(len(LABELS)), LABELS, rotation=45, ha="right", rotation_mode="anchor")
    table = counts.assign(all=counts.sum(axis=1))
    grey = audit.images.groupby("label")["is_grey"].mean()
    lines = [
        [label, *map(int, row), percent(row["all"] / table["all"].sum()), percent(grey.get(label))]
        for label, row in table.iterrows()
    ]
    text = "Labelled images by part. Grey is the share of images without colour."
    if unlabelled := int(audit.images["label"].isna().sum()):
        text += f" {count(unlabelled, 'image')} without a label."
    return [
        Table(["class", *table.columns, "share", "grey"], lines, text),
        Picture("class_balance", figure, "Images of each class in each part."),
    ]


def _image_blocks(audit: Audit) -> list[Block]:
    lines = []
    for part, row in audit.sizes.iterrows():
        width, height = (" / ".join(map(str, row[side])) for side in ("width", "height"))
        shares = percent(row["square"]), percent(row["grey"])
        lines.append([part, row["images"], width, height, *shares, row["uniform"]])
    table = Table(
        ["part", "images", "width", "height", "square", "grey", "one colour"],
        lines,
        "Width and height in pixels: least / median / largest. Grey is an image whose channels are equal up to what "
        "JPEG leaves, however it is stored.",
    )
    shorter = audit.images[["width", "height"]].min(axis=1)
    if shorter.nunique() == 1:
        return [table, Paragraph(f"The shorter side of every image is {shorter.iloc[0]} pixels long.")]
    figure = new_figure(6.5, 2.8)
    axes = figure.subplots()
    axes.hist(shorter, bins=min(40, shorter.nunique()), color=series_style(0)["color"], **_EDGE)
    tidy(axes, xlabel="shorter side (pixels)", ylabel="images")
    return [table, Picture("sizes", figure, "Length of the shorter side of the images of all parts.")]


def _group_blocks(audit: Audit) -> list[Block]:
    if audit.images["group"].is_unique:
        return [Paragraph("Every image is a group of its own: the data does not say which film or person it shows.")]
    lines = []
    for label, row in audit.classes[audit.classes["images"] > 0].iterrows():
        images, groups, name, largest = row
        lines.append([label, images, groups, images / groups, name, largest, percent(largest / images)])
    blocks: list[Block] = [
        Table(
            ["class", "images", "groups", "images per group", "largest group", "its images", "its share"],
            lines,
            "A group is a film or person, by file name or the data's own column. Labelled images of all parts.",
        ),
        Picture(
            "groups",
            _groups_figure(audit),
            f"Shares of the five largest groups of each class, and of all others in white. Above {percent(MAX_SHARE)} "
            "(dashed) one group dominates the class.",
        ),
    ]
    shared = [[part, *row, percent(row.iloc[1] / row.iloc[0])] for part, row in audit.shared_groups.iterrows()]
    return [*blocks, Table(["part", "images", "of groups of train", "share"], shared)] if shared else blocks


def _groups_figure(audit: Audit) -> Figure:
    labels = [label for label in LABELS if audit.classes.loc[label, "images"]]
    figure = new_figure(8, 0.8 + 0.4 * len(labels))
    axes = figure.subplots()
    for place, label in enumerate(labels):
        shares = audit.images.loc[audit.images["label"] == label, "group"].value_counts(normalize=True).head(5)
        axes.barh(place, 1, color="white", clip_on=False, **_EDGE)
        axes.barh([place] * len(shares), shares, left=shares.cumsum() - shares, color=CLASS_COLORS[label], **_EDGE)
        name = str(shares.index[0])
        text = f"{percent(shares.iloc[0])} {name if len(name) <= 24 else f'{name[:23]}…'}"
        axes.annotate(text, (1.01, place), va="center", fontsize=8, annotation_clip=False)
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
    by_parts = duplicates.groupby(["part_a", "part_b"], sort=False)
    sums = by_parts[["is_exact", "is_contradicting"]].sum().astype(int)
    blocks: list[Block] = [
        Table(
            ["part", "other part", "pairs", "the same pixels", "two labels"],
            [[*key, len(by_parts.get_group(key)), *map(int, row)] for key, row in sums.iterrows()],
            "Pairs by perceptual hash: the same photograph, even if saved again, resized or of another contrast. "
            "Images of one colour are left out. report.json lists all pairs.",
        )
    ]
    if len(contradicting):
        shown = contradicting.head(_PAIRS_SHOWN)
        places, labels = shown[["row_a", "row_b"]].to_numpy().ravel(), shown[["label_a", "label_b"]].to_numpy().ravel()
        captions = [f"{place // 2 + 1}{'ab'[place % 2]}  {label}" for place, label in enumerate(labels)]
        lines = [
            [number, row.path_a, row.label_a, row.path_b, row.label_b, row.distance]
            for number, row in enumerate(shown.itertuples(), start=1)
        ]
        figure = image_grid([*map(to_rgb, rows.select(places)["image"])], captions, labels, together=2)
        text = f"The first {len(shown)} of {count(len(contradicting), 'pair')} of duplicates with two labels."
        header = ["pair", "a", "label of a", "b", "label of b", "differing bits"]
        blocks.append(Picture("contradicting_duplicates", figure, text))
        blocks.append(Table(header, lines, "The pairs of the picture. Differing bits of 256."))
    return blocks


def _doubtful_blocks(audit: Audit, rows: Dataset, model: str) -> list[Block]:
    doubtful = audit.doubtful["given"].value_counts()
    lines = []
    for label, images in audit.classes.loc[audit.classes["images"] > 0, "images"].items():
        judged, found = audit.judged[label], int(doubtful.get(label, 0))
        lines.append([label, images, judged, found, percent(found / judged if judged else None)])
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
            lines,
            "Not judged are images of a class that no other film or person shows, or of one that is too rare to learn.",
        ),
    ]
    if len(audit.doubtful):
        shown = audit.doubtful.head(_DOUBTFUL_SHOWN)
        numbered = list(enumerate(shown.itertuples(), start=1))
        captions = [
            f"{number}  {row.given} {row.given_probability:.0%}\n→ {row.suggested} {row.suggested_probability:.0%}"
            for number, row in numbered
        ]
        blocks += [
            Table(
                ["label", *LABELS],
                [[label, *counts.tolist()] for label, counts in zip(LABELS, audit.joint, strict=True)],
                "Confident joint: images by label (down) and by the class they confidently belong to (across). Images "
                "that are confidently of no class are left out.",
            ),
            Picture(
                "doubtful_labels",
                image_grid([*map(to_rgb, rows.select(shown["row"])["image"])], captions, shown["given"].tolist()),
                f"The {len(shown)} most doubtful of {count(len(audit.doubtful), 'label')}, framed in the colour of "
                "the label: label and class suggested, with their probabilities.",
            ),
            Table(
                ["number", "part", "image", "label", "suggested"],
                [[number, row.part, row.path, row.given, row.suggested] for number, row in numbered],
                "The images of the picture. report.json lists all doubtful labels.",
            ),
        ]
    return blocks
