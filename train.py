"""Trains InvolViT and reports on held-out faces: what `accelerate launch` starts, on any number of processes.

    accelerate launch train.py --config configs/demo.yaml --out outputs/demo
    accelerate launch train.py --config configs/paper.yaml --data SFEW.zip --out outputs/paper
    accelerate launch train.py --config configs/finetune.yaml --data faces.zip --out outputs/mine

`involvit train` takes the same flags and trains in one process. Any field of the recipe (involvit/training/recipe.py)
is a flag. A run that was interrupted continues with `--resume` and ends with the same weights as if it had never
stopped. The loop itself is in involvit/training/loop.py.
"""

import sys

from involvit.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
