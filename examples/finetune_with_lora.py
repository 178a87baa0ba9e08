"""Fine-tunes a small adapter (LoRA, by peft) of the default model on a folder of its seven classes.

python examples/finetune_with_lora.py faces/ outputs/adapter

The statistics of BatchNorm are no weights: training moves them too, and no adapter holds them. Left alone, the saved
adapter would later meet other statistics than those it was trained with. So they are frozen first.
"""

import sys

from datasets import load_dataset
from peft import LoraConfig, PeftModel, get_peft_model
from timm.layers import freeze_batch_norm_2d
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments

MODEL = "checkpoints/involvit-tiny"  # or the id of a model on the Hub
folder, output = sys.argv[1:]

model = AutoModelForImageClassification.from_pretrained(MODEL, trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained(MODEL, trust_remote_code=True)
faces = load_dataset("imagefolder", data_dir=folder, split="train")
faces = faces.align_labels_with_mapping(model.config.label2id, "label")
faces = faces.train_test_split(test_size=0.2, seed=42, stratify_by_column="label")
faces.set_transform(lambda rows: {**processor(rows["image"], return_tensors="pt"), "labels": rows["label"]})

adapter = LoraConfig(r=8, lora_alpha=16, target_modules=["qkv", "fc1", "fc2"], modules_to_save=["classifier"])
model = get_peft_model(freeze_batch_norm_2d(model), adapter)
model.print_trainable_parameters()
settings = TrainingArguments(
    output, num_train_epochs=3, per_device_train_batch_size=32, learning_rate=1e-3, warmup_steps=0.1,
    eval_strategy="epoch", remove_unused_columns=False, label_names=["labels"], report_to="none",
)  # fmt: skip
Trainer(model, settings, train_dataset=faces["train"], eval_dataset=faces["test"]).train()
model.save_pretrained(output)

# To use it without peft, merge it into the model.
model = AutoModelForImageClassification.from_pretrained(MODEL, trust_remote_code=True)
model = PeftModel.from_pretrained(model, output).merge_and_unload()
model.save_pretrained(f"{output}/merged")
processor.save_pretrained(f"{output}/merged")
