"""Images on disk, on the Hub or rendered -> a `datasets` DatasetDict, or Parquet ready for the Hub."""

from .fer_dataset import load_fer_dataset
from .joined_datasets import load_joined_datasets
from .labels import LABELS

__all__ = ["LABELS", "load_fer_dataset", "load_joined_datasets"]
