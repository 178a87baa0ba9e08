"""A data set as the Hub wants it: Parquet shards and a card, which `load_dataset` loads without our code."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from datasets import DatasetDict
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from huggingface_hub import DatasetCard, DatasetCardData

from involvit.reports.blocks import Bullets, Paragraph, Table
from involvit.reports.writer import to_markdown

from .labels import LABELS
from .votes import ANSWERS

MAX_SHARD_BYTES = 500 * 10**6
CONTENT = ("README.md", "data")
"""What `write_parquet_repo` puts into its folder."""


def write_parquet_repo(dataset: DatasetDict, folder: Path, name: str, made_by: str) -> None:
    """Writes `data/SPLIT-00000-of-0000N.parquet` with the images' bytes, and the card `README.md`.

    Args:
        dataset: From `load_fer_dataset`.
        folder: An existing empty folder.
        name: The title of the card.
        made_by: The command that made the data set, for the card.
    """
    (folder / "data").mkdir()
    splits = SplitDict()
    for split, rows in dataset.items():
        num_shards = max(1, math.ceil(rows.data.nbytes * rows.num_rows / max(1, rows.data.num_rows) / MAX_SHARD_BYTES))
        paths = [folder / "data" / f"{split}-{i:05d}-of-{num_shards:05d}.parquet" for i in range(num_shards)]
        num_bytes = 0
        for i, path in enumerate(paths):
            with path.open("wb") as file:  # of a path, the library would take `::` for a chain of URLs
                num_bytes += rows.shard(num_shards, i, contiguous=True).to_parquet(file)
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
    numbers = {label: [count[index] for count in counts.values()] for index, label in enumerate(LABELS)}
    if any(without := [count[-1] for count in counts.values()]):
        numbers["no label"] = without
    numbers["all"] = [count.total() for count in counts.values()]
    numbers["groups"] = [len(set(rows["group"][:])) for rows in dataset.values()]
    columns = [
        "`image`: the file as it was in the source; a PNG of its pixels where its metadata were broken",
        "`label`: the class, numbered in the order above; -1 where the source has none",
        "`group`: the film or person in the image; the path of the image itself where the source does not say",
        "`path`: the image's name in the source",
    ]
    if "votes" in dataset["train"].column_names:
        columns += [
            "`votes`: what share of several people chose each class, in the order above; most chose the label. Answers "
            "of a single person and other answers are left out",
            f"`vote_counts`: how many people answered {', '.join(ANSWERS)}",
        ]
    left_out = dataset["train"].info.description
    blocks = [
        Paragraph(f"# {name}"),
        Paragraph(f"Faces with one of seven expressions: {', '.join(LABELS)}."),
        Table(("class", *counts), [(title, *row) for title, row in numbers.items()]),
        Bullets(columns),
        Paragraph(f"## How it was made\n\n```\n{made_by}\n```"),
        *([Paragraph(f"Of the source it {left_out}")] if left_out else []),
        Paragraph(
            "## Licence\n\n"
            "The images keep the licence of their source, which this card does not state: whoever publishes the data "
            "set needs the right to do so, and adds that licence as `license` to the metadata above."
        ),
    ]
    return to_markdown(blocks) + "\n"
