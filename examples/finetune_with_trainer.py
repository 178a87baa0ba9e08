"""Fine-tunes the default model on a folder of faces, one folder a class, with transformers' Trainer.

python examples/finetune_with_trainer.py faces/ outputs/finetuned
"""

import sys

from datasets import load_dataset
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments

MODEL = "checkpoints/involvit-tiny"  # or the id of a model on the Hub
folder, output = sys.argv[1:]

faces = load_dataset("imagefolder", data_dir=folder, split="train")
classes, known = faces.features["label"].names, AutoConfig.from_pretrained(MODEL, trust_remote_code=True).label2id
if {name.lower() for name in classes} <= {name.lower() for name in known}:  # the model's own: it keeps its head
    faces, head = faces.align_labels_with_mapping(known, "label"), {}
else:  # others: it gets a new one
    head = {"id2label": dict(enumerate(classes)), "label2id": {name: i for i, name in enumerate(classes)}}
model = AutoModelForImageClassification.from_pretrained(
    MODEL, trust_remote_code=True, ignore_mismatched_sizes=True, **head
)
processor = AutoImageProcessor.from_pretrained(MODEL, trust_remote_code=True)
faces = faces.train_test_split(test_size=0.2, seed=42, stratify_by_column="label")
faces.set_transform(lambda rows: {**processor(rows["image"], return_tensors="pt"), "labels": rows["label"]})

settings = TrainingArguments(
    output, num_train_epochs=3, per_device_train_batch_size=32, learning_rate=3e-4, warmup_steps=0.1,
    eval_strategy="epoch", remove_unused_columns=False, report_to="none",
)  # fmt: skip
trainer = Trainer(
    model, settings, train_dataset=faces["train"], eval_dataset=faces["test"], processing_class=processor,
    compute_metrics=lambda answer: {"accuracy": (answer.predictions.argmax(axis=1) == answer.label_ids).mean()},
)  # fmt: skip
trainer.train()
trainer.save_model()  # pipeline("image-classification", output, trust_remote_code=True) loads it
