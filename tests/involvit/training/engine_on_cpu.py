"""`involvit train` where accelerate takes the machine's CPU for a GPU: its FSDP and DeepSpeed then run, over gloo."""

import os
import sys

os.environ.update(ACCELERATE_TORCH_DEVICE="cpu", CUDA_VISIBLE_DEVICES="", DS_ACCELERATOR="cpu")

from accelerate.state import PartialState
from accelerate.utils import DistributedType

from involvit.cli import main

if __name__ == "__main__":
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    sys.exit(main(["train", *sys.argv[1:]]))
