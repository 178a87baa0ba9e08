import signal

import numpy as np
import pytest
import torch

from involvit.training.loaders import build_train_loader
from involvit.training.recipe import Recipe


def test_class_balance_by_sampler_draws_each_class_as_often(tmp_path):
    labels = [0] * 900 + [1] * 90 + [2] * 10
    recipe = Recipe(output_dir=str(tmp_path), class_balance="sampler", batch_size=10, num_workers=0)
    order = torch.Generator().manual_seed(0)
    loader = build_train_loader(range(1000), labels, recipe, order)
    drawn = np.asarray(labels)[list(loader.sampler)]
    assert np.bincount(drawn) / 1000 == pytest.approx([1 / 3] * 3, abs=0.05)


class IgnoresCtrlC:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_workers_leave_ctrl_c_to_the_process_that_they_work_for(tmp_path):
    recipe = Recipe(output_dir=str(tmp_path), batch_size=1, num_workers=1)
    loader = build_train_loader(IgnoresCtrlC(), [0], recipe, torch.Generator())
    assert [batch.tolist() for batch in loader] == [[True]]
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
