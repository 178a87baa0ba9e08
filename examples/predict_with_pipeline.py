"""Says which expression each face in a folder shows, with transformers' pipeline, and writes a table.

python examples/predict_with_pipeline.py faces/ expressions.csv
"""

import csv
import sys
from pathlib import Path

from datasets import Image, load_dataset
from tqdm.auto import tqdm
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

MODEL = "checkpoints/involvit-tiny"  # or the id of a model on the Hub
folder, output = sys.argv[1:]

faces = load_dataset("imagefolder", data_dir=folder, split="train")
paths = [image["path"] for image in faces.cast_column("image", Image(decode=False))["image"]]
classify = pipeline("image-classification", MODEL, trust_remote_code=True)
classes = list(classify.model.config.label2id)
with Path(output).open("w", newline="") as file:
    table = csv.DictWriter(file, ["file", "label", *classes])
    table.writeheader()
    # The images are read, predicted and forgotten batch by batch: as many as there are, in the same memory.
    answers = classify(KeyDataset(faces, "image"), top_k=len(classes), batch_size=32)
    for path, answer in zip(tqdm(paths), answers, strict=True):
        scores = {one["label"]: round(one["score"], 4) for one in answer}
        table.writerow({"file": path, "label": answer[0]["label"], **scores})
