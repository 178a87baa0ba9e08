"""A data set as the Hub wants it: Parquet shards and a card, loaded by `load_dataset` with no code of ours."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from datasets import DatasetDict
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from huggingface_hub import DatasetCard, DatasetCardData

from .labels import LABELS
from .votes import ANSWERS

MAX_SHARD_BYTES = 500 * 10**6
CONTENT = ("README.md", "data")
"""What `write_parquet_repo` puts into its folder."""


def write_parquet_repo(dataset: DatasetDict, folder: Path, name: str, made_by: str) -> None:
    """Writes `data/SPLIT-00000-of-0000N.parquet` with the images' bytes, and the card `README.md`.

    Args:
        dataset (`DatasetDict`): from `load_fer_dataset`, whose rows carry the bytes of their images.
        folder (`Path`): an existing empty folder.
        name (`str`): the data set's name, the card's title.
        made_by (`str`): the command it was made by, for the card.
    """
    (folder / "data").mkdir()
    splits = SplitDict()
    for split, rows in dataset.items():
        num_shards = max(1, math.ceil(rows.data.nbytes * rows.num_rows / max(1, rows.data.num_rows) / MAX_SHARD_BYTES))
        num_bytes = 0
        for index in range(num_shards):
            shard = rows.shard(num_shards, index, contiguous=True)
            num_bytes += shard.to_parquet(folder / "data" / f"{split}-{index:05d}-of-{num_shards:05d}.parquet")
        splits.add(SplitInfo(split, num_bytes=num_bytes, num_examples=rows.num_rows))
    info = DatasetInfo(
        features=dataset["train"].features,
        splits=splits,
        dataset_size=sum(split.num_bytes for split in splits.values()),
        download_size=sum(path.stat().st_size for path in (folder / "data").iterdir()),
    )
    data_files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in dataset]
    metadata = DatasetCardData(
        pretty_name=name,
        task_categories=["image-classification"],
        tags=["facial-expression-recognition"],
        configs=[{"config_name": "default", "data_files": data_files}],
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(metadata)
    DatasetCard(f"---\n{metadata}\n---\n\n{_card_text(dataset, name, made_by)}").save(folder / "README.md")


def _card_text(dataset: DatasetDict, name: str, made_by: str) -> str:
    counts = {split: Counter(rows["label"][:]) for split, rows in dataset.items()}
    lines = [
        f"# {name}",
        "",
        f"Faces with one of seven expressions: {', '.join(LABELS)}.",
        "",
        f"| class | {' | '.join(counts)} |",
        f"|---|{'---:|' * len(counts)}",
    ]
    for label, title in [*enumerate(LABELS), (-1, "no label")]:
        if label >= 0 or any(count[label] for count in counts.values()):
            lines.append(f"| {title} | {' | '.join(str(count[label]) for count in counts.values())} |")
    lines += [
        f"| all | {' | '.join(str(count.total()) for count in counts.values())} |",
        f"| groups | {' | '.join(str(len(set(rows['group'][:]))) for rows in dataset.values())} |",
        "",
        "- `image`: the file as it was in the source, not encoded anew",
        "- `label`: the class, numbered in the order above; -1 where the source gives none",
        "- `group`: the film or person the image shows; the image's own path where the source does not tell",
        "- `path`: the image's name in the source",
    ]
    if "votes" in dataset["train"].column_names:
        lines += [
            "- `votes`: what share of several people chose each class, in the order above; most chose the label.",
            "  Answers of a single person and other answers are left out",
            f"- `vote_counts`: how many people answered {', '.join(ANSWERS)}",
        ]
    lines += [
        "",
        "## How it was made",
        "",
        f"```\n{made_by}\n```",
        "",
    ]
    if dataset["train"].info.description:
        lines += [f"Of the source it {dataset['train'].info.description}", ""]
    lines += [
        "## Licence",
        "",
        "The images keep the licence of their source, which this card does not state: whoever publishes the data set",
        "needs the right to do so, and adds that licence as `license` to the metadata above.",
        "",
    ]
    return "\n".join(lines)
