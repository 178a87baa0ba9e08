"""Cuts one branch out of a fusion model, with a new head, as the start of its single-branch twin.

    python -m benchmarks.cut_branch rednet outputs/rednet_start
    accelerate launch train.py --config configs/default_finished.yaml --data_dir FOLDER_OF_THE_ARCHIVES \
        --pretrained outputs/rednet_start --pretrained_share null --num_epochs 3 --learning_rate 5e-4 \
        --output_dir outputs/rednet

A twin trained from scratch by the default model's whole recipe would take hours; this one keeps what its branch learnt
beside the other and learns to do without it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import set_seed

from involvit.classifier import default_model
from modeling_involvit import InvolViTForImageClassification, InvolViTImageProcessor


def cut_branch(model: Path, branch: str, out: Path, seed: int = 0) -> None:
    """Saves a model of one branch with that branch's weights and a new head.

    Args:
        model: Folder of a fusion model.
        branch: `rednet` or `vit`.
        out: Folder to write.
        seed: Of the head.
    """
    set_seed(seed)
    whole = InvolViTForImageClassification.from_pretrained(model)
    config = type(whole.config).from_pretrained(model, branches=branch)
    twin = InvolViTForImageClassification(config)
    getattr(twin.involvit, branch).load_state_dict(getattr(whole.involvit, branch).state_dict())
    twin.save_pretrained(out)
    InvolViTImageProcessor.from_pretrained(model).save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("branch", choices=["rednet", "vit"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=default_model(), help="(default: the model of the package)")
    arguments = parser.parse_args()
    cut_branch(arguments.model, arguments.branch, arguments.out)
