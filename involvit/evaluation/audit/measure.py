"""What is in a data set, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict, concatenate_datasets
from scipy.stats import entropy

from dataset_script import LABELS
from dataset_script.duplicates import find_duplicates

from ...prediction.torch_classifier import TorchClassifier
from ..predictions import decoded_batches
from . import label_noise

MAX_SHARE = 0.3
"""Above this share, one film or person dominates a class."""
MIN_AGREEMENT = 0.5
"""Where fewer than this share of the people gave the label, they are divided."""
_GREY_TOLERANCE = 8  # levels between the channels: what JPEG leaves of a grey image


@dataclass(frozen=True)
class Audit:
    """Tables of what was found.

    Args:
        images: One row per image, the parts one after the other: `part`, `path`, `label` (name of the class, or
            missing), `group`, `width` and `height` in pixels, `is_grey`, `is_uniform` (one colour all over), and of an
            image that two or more people labelled `agreement` (share of them who gave the label) and `vote_entropy` (of
            the votes for the seven classes, in nats); both are missing elsewhere.
        classes: One row per class, over the labelled images of all parts: `images`, `groups`, `largest_group`,
            `largest_group_images`.
        shared_groups: One row per part except train: `images`, and `of_train_groups`, those of a film or person that
            train shows too.
        duplicates: One row per pair: `row_a` (of `images`), `part_a`, `path_a`, `label_a`, the same of b, `distance`
            (of 256 hash bits, those that differ), `is_exact` (the same pixels), `is_contradicting` (two labels). Images
            of one colour are left out.
        doubtful: See `doubtful_labels`; `row` is one of `images`, of which it has `part` and `path` too.
        joint: See `confident_joint`.
        judged: For each class the number of its images that were judged, since other films or persons show it too.
        left_out: What could not be read, one line each; empty if all could.
    """

    images: pd.DataFrame
    classes: pd.DataFrame
    shared_groups: pd.DataFrame
    duplicates: pd.DataFrame
    doubtful: pd.DataFrame
    joint: np.ndarray
    judged: dict[str, int]
    left_out: str

    @property
    def class_counts(self) -> pd.DataFrame:
        """Images of each class (rows) in each part (columns)."""
        parts = self.images["part"].unique()
        counts = pd.crosstab(self.images["label"], self.images["part"])
        return counts.reindex(index=list(LABELS), columns=parts, fill_value=0)

    @property
    def sizes(self) -> pd.DataFrame:
        """One row per part: images, least, median and largest width and height, shares, number of one colour."""
        images = self.images.assign(square=self.images["width"] == self.images["height"])
        return images.groupby("part", sort=False).agg(
            images=("path", "size"),
            width=("width", _least_median_largest),
            height=("height", _least_median_largest),
            square=("square", "mean"),
            grey=("is_grey", "mean"),
            uniform=("is_uniform", "sum"),
        )

    @property
    def dominated(self) -> pd.DataFrame:
        """The classes of which one film or person, on several images, makes up more than `MAX_SHARE`."""
        largest = self.classes["largest_group_images"]
        return self.classes[(largest > 1) & (largest > MAX_SHARE * self.classes["images"])]

    @property
    def voted(self) -> pd.DataFrame:
        """The labelled images with votes, those first of whose label people are least sure."""
        labelled = self.images[self.images["label"].notna() & self.images["agreement"].notna()]
        return labelled.sort_values(["agreement", "vote_entropy"], ascending=[True, False], kind="stable")

    @property
    def divided(self) -> pd.DataFrame:
        """Those of `voted` on which people are divided, in the same order."""
        voted = self.voted
        return voted[voted["agreement"] < MIN_AGREEMENT]

    @property
    def agreement(self) -> pd.DataFrame:
        """One row per class with votes: `images`, mean `agreement` and `vote_entropy`, and how many are `divided`."""
        voted = self.voted.assign(divided=self.voted["agreement"] < MIN_AGREEMENT)
        table = voted.groupby("label").agg(
            images=("path", "size"),
            agreement=("agreement", "mean"),
            vote_entropy=("vote_entropy", "mean"),
            divided=("divided", "sum"),
        )
        return table.reindex([label for label in LABELS if label in table.index])

    @property
    def contradicting(self) -> pd.DataFrame:
        """The duplicates with two labels."""
        return self.duplicates[self.duplicates["is_contradicting"]]

    @property
    def results(self) -> dict[str, Any]:
        """Everything, for `report.json`."""
        return {
            "class_counts": self.class_counts.to_dict(),
            "images": self.sizes.to_dict(orient="index"),
            "uniform": self.images.loc[self.images["is_uniform"], "path"].tolist(),
            "groups": self.classes.to_dict(orient="index"),
            "shared_groups": self.shared_groups.to_dict(orient="index"),
            "duplicates": self.duplicates.drop(columns=["row_a", "row_b"]).to_dict(orient="records"),
            "votes": self.agreement.to_dict(orient="index"),
            "divided": self.divided[["part", "path", "label", "agreement", "vote_entropy"]].to_dict(orient="records"),
            "judged": self.judged,
            "confident_joint": self.joint,
            "doubtful_labels": self.doubtful.drop(columns="row").to_dict(orient="records"),
            "left_out": self.left_out.splitlines(),
        }


def audit(parts: DatasetDict, classifier: TorchClassifier) -> Audit:
    """Examines a data set.

    Args:
        parts: What `load_fer_dataset` returns.
        classifier: Its features describe the faces whose labels are judged.
    """
    images = _describe_images(parts)
    labelled = images[images["label"].notna()]
    rows = concatenate_datasets(list(parts.values())).select(labelled.index)
    features = label_noise.pooled_features(classifier, rows)
    labels = np.array(rows["label"][:])
    probabilities = label_noise.out_of_fold_probabilities(features, labels, labelled["group"].to_numpy())
    judged = np.bincount(labels[~np.isnan(probabilities[:, 0])], minlength=len(LABELS)).tolist()
    doubtful = label_noise.doubtful_labels(labels, probabilities)
    doubtful["row"] = labelled.index[doubtful["row"]]
    return Audit(
        images=images,
        classes=_groups_per_class(labelled),
        shared_groups=_shared_groups(images),
        duplicates=_duplicates(parts, images),
        doubtful=doubtful.join(images[["part", "path"]], on="row"),
        joint=label_noise.confident_joint(labels, label_noise.confident_classes(labels, probabilities)),
        judged=dict(zip(LABELS, judged, strict=True)),
        left_out=next(iter(parts.values())).info.description,
    )


def _least_median_largest(pixels: pd.Series) -> list[int]:
    return pixels.quantile([0, 0.5, 1]).round().astype(int).tolist()


def _describe_images(parts: DatasetDict) -> pd.DataFrame:
    tables = []
    for part, rows in parts.items():
        pixels = [
            {
                "width": image.shape[1],
                "height": image.shape[0],
                "is_grey": np.ptp(image, axis=2).max() <= _GREY_TOLERANCE,
                "is_uniform": not np.ptp(image, axis=(0, 1)).any(),
            }
            for images in decoded_batches(rows, f"Reading {part}")
            for image in images
        ]
        table = rows.select_columns(["path", "group"]).to_pandas().assign(part=part)
        table["label"] = [None if label < 0 else LABELS[label] for label in rows["label"]]
        tables.append(table.join(pd.DataFrame(pixels)).join(_describe_votes(rows)))
    return pd.concat(tables, ignore_index=True)


def _describe_votes(rows: Dataset) -> pd.DataFrame:
    described = pd.DataFrame(np.nan, index=range(len(rows)), columns=["agreement", "vote_entropy"])
    if "vote_counts" not in rows.column_names:
        return described
    counts, votes, labels = (rows[name][:] for name in ("vote_counts", "votes", "label"))
    known = [row for row in range(len(rows)) if labels[row] >= 0 and sum(counts[row] or ()) > 1]
    described.loc[known, "agreement"] = [counts[row][labels[row]] / sum(counts[row]) for row in known]
    described.loc[known, "vote_entropy"] = entropy(np.reshape([votes[row] for row in known], (-1, len(LABELS))), axis=1)
    return described


def _groups_per_class(labelled: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for label in LABELS:
        counts = labelled.loc[labelled["label"] == label, "group"].value_counts()
        name, largest = (str(counts.index[0]), int(counts.iloc[0])) if len(counts) else (None, 0)
        rows.append((int(counts.sum()), len(counts), name, largest))
    return pd.DataFrame(rows, list(LABELS), ["images", "groups", "largest_group", "largest_group_images"])


def _shared_groups(images: pd.DataFrame) -> pd.DataFrame:
    is_train = images["part"] == "train"
    is_shared = images["group"].isin(images.loc[is_train, "group"])
    counts = is_shared[~is_train].groupby(images["part"], sort=False).agg(["size", "sum"])
    return counts.set_axis(["images", "of_train_groups"], axis=1)


def _duplicates(parts: DatasetDict, images: pd.DataFrame) -> pd.DataFrame:
    found = find_duplicates(parts, all_pairs=True)
    places, columns = images.groupby("part").indices, ["part", "path", "label", "is_uniform"]
    rows = {
        "a": [places[pair.split_a][pair.index_a] for pair in found],
        "b": [places[pair.split_b][pair.index_b] for pair in found],
    }
    tables = [images.loc[rows[side], columns].reset_index(names="row").add_suffix(f"_{side}") for side in rows]
    pairs = pd.concat(tables, axis=1)
    pairs["distance"] = [pair.distance for pair in found]
    pairs["is_exact"] = [pair.exact for pair in found]
    has_labels = pairs[["label_a", "label_b"]].notna().all(axis=1)
    pairs["is_contradicting"] = has_labels & (pairs["label_a"] != pairs["label_b"])
    is_uniform = pairs["is_uniform_a"] | pairs["is_uniform_b"]
    return pairs[~is_uniform].drop(columns=["is_uniform_a", "is_uniform_b"]).reset_index(drop=True)
