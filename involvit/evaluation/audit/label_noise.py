"""Which labels are doubtful: confident learning on what a classifier that never saw the person says.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, 2021.
"""

from __future__ import annotations

import warnings

import datasets
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from dataset_script import LABELS

from ...prediction.classifier import check_finite
from ...prediction.torch_classifier import TorchClassifier
from ..predictions import decoded_batches

_FOLDS = 5


@torch.inference_mode()
def pooled_features(classifier: TorchClassifier, rows: datasets.Dataset) -> np.ndarray:
    """Describes each image by the network's last hidden state, averaged over places or tokens.

    Args:
        classifier: A network of any classes; of an InvolViT model the fused map is taken.
        rows: Rows with `image`, each taken as a whole face.

    Returns:
        float32 [N, C].

    Raises:
        ValueError: If the network has no hidden states to return, or they are not finite.
    """
    features = []
    for images in decoded_batches(rows, "Features"):
        inputs = classifier.processor(images, return_tensors="pt", input_data_format="channels_last")
        pixel_values = inputs["pixel_values"].to(classifier.network.device)
        hidden_states = classifier.network(pixel_values, output_hidden_states=True).hidden_states
        if not hidden_states:
            raise ValueError(f"{classifier.name} returns no hidden states; take another model by --model")
        last = hidden_states[-1]  # [B, C, h, w] of a map, [B, tokens, C] of a transformer
        pooled = last.mean(dim=(2, 3)) if last.ndim == 4 else last.mean(dim=1)
        features.append(pooled.float().cpu().numpy())
        check_finite(features[-1], classifier.name)
    return np.concatenate(features)


def out_of_fold_probabilities(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Classifies each image by logistic regression on the images of other persons.

    The classes are not weighted: the thresholds of confident learning take care of rare ones.

    Args:
        features: float [N, C].
        labels: Classes, int [N], 0 to 6.
        groups: Film or person of each image [N]; none is on both sides of a fold.

    Returns:
        Probabilities, float [N, 7]. A row is NaN where the classifier was shown no other person of the image's class,
        so that nothing can be said of its label.
    """
    probabilities = np.full((len(labels), len(LABELS)), np.nan)
    folds = min(_FOLDS, len(np.unique(groups)), np.bincount(labels).max())
    if folds < 2:
        return probabilities
    # Of seven C from 0.0003 to 1, that of the least log loss on 1,340 press photos and film stills and our features.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # its images are left out where they must be
        splits = list(splitter.split(features, labels, groups))
    for train, test in tqdm(splits, desc="Out of fold", unit="fold", disable=None, leave=False):
        seen = np.unique(labels[train])
        judged = test[np.isin(labels[test], seen)]
        if len(seen) < 2 or not len(judged):
            continue
        probabilities[judged] = 0
        probabilities[np.ix_(judged, seen)] = model.fit(features[train], labels[train]).predict_proba(features[judged])
    return probabilities


def confident_classes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Finds the class that each image confidently belongs to, whatever its label says.

    The threshold of a class is the mean probability that its own images have for it (equation 2 of the paper). Of the
    classes that reach theirs, the most probable is taken (equation 1).

    Args:
        labels: Classes, int [N], 0 to 6.
        probabilities: Of `out_of_fold_probabilities`.

    Returns:
        Classes, int [N]; -1 where none reaches its threshold or nothing is known.
    """
    judged = ~np.isnan(probabilities[:, 0])
    thresholds = np.full(len(LABELS), np.inf)
    for label in np.unique(labels[judged]):
        thresholds[label] = probabilities[judged & (labels == label), label].mean()
    reached = probabilities >= thresholds - 1e-9  # a class of equal images reaches its own mean
    return np.where(reached.any(axis=1), np.where(reached, probabilities, -1).argmax(axis=1), -1)


def confident_joint(labels: np.ndarray, confident: np.ndarray) -> np.ndarray:
    """Counts images by label (down) and class of `confident_classes` (across), int [7, 7]; one of no class is left out.

    Off the diagonal are the doubtful labels.
    """
    return confusion_matrix(labels, confident, labels=np.arange(len(LABELS)))


def doubtful_labels(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Lists the images that confidently belong to another class than their label says, the most doubtful first.

    Returns:
        One row per image: `row` (0 to N - 1), `given` and `suggested` (class names), `given_probability`,
        `suggested_probability` and `margin`, the first probability less the second, by which they are ordered.
    """
    confident = confident_classes(labels, probabilities)
    table = pd.DataFrame({"row": np.flatnonzero((confident >= 0) & (confident != labels))})
    for name, classes in {"given": labels[table["row"]], "suggested": confident[table["row"]]}.items():
        table[name] = np.array(LABELS)[classes]
        table[f"{name}_probability"] = probabilities[table["row"], classes]
    table["margin"] = table["given_probability"] - table["suggested_probability"]
    return table.sort_values("margin", kind="stable", ignore_index=True)
