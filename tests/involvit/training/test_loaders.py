import shutil
import signal
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch

from involvit.training.loaders import build_loaders, data_fingerprint, load_faces, naming_full_shared_memory
from involvit.training.recipe import Recipe

PROCESSOR = SimpleNamespace(size=SimpleNamespace(height=32, width=32))


def train_loader(labels, processor, order, **fields):
    rows = datasets.Dataset.from_dict({"image": [0] * len(labels), "label": labels})
    return build_loaders(Recipe("out", **fields), {"train": rows}, processor, order)[0]


def test_class_balance_by_sampler_draws_each_class_as_often():
    labels = [0] * 900 + [1] * 90 + [2] * 10
    order = torch.Generator().manual_seed(0)
    loader = train_loader(labels, PROCESSOR, order, class_balance="sampler", batch_size=10, num_workers=0)
    drawn = np.asarray(labels)[list(loader.sampler)]
    assert np.bincount(drawn) / 1000 == pytest.approx([1 / 3] * 3, abs=0.05)


@pytest.mark.parametrize(("images", "batches"), [(41, [20, 20]), (40, [20, 20]), (42, [20, 20, 2]), (1, [1])])
def test_no_batch_after_others_has_one_image_on_which_batch_norm_fails(images, batches):
    loader = train_loader([0] * images, PROCESSOR, torch.Generator(), batch_size=20, num_workers=0)
    assert [len(batch) for batch in loader.batch_sampler] == batches


class IgnoresCtrlC:
    """A processor that says whether the process it works in ignores Ctrl-C."""

    size, resample = SimpleNamespace(height=1, width=1), None

    def process_image(self, image):
        return image

    def resize(self, *image_size_and_resample):
        return torch.zeros(3, 1, 1, dtype=torch.uint8)

    def __call__(self, images, **options):
        return {"pixel_values": torch.tensor([signal.getsignal(signal.SIGINT) is signal.SIG_IGN])}


def test_workers_leave_ctrl_c_to_the_process_that_they_work_for():
    loader = train_loader([0], IgnoresCtrlC(), torch.Generator(), batch_size=1, num_workers=1)
    assert [batch["pixel_values"].tolist() for batch in loader] == [[True]]
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


NO_ROOM = r"shared memory \(/dev/shm\) has no room .* set fewer num_workers, or 0, or make it larger"


def test_without_room_in_the_shared_memory_workers_are_refused_before_training(monkeypatch):
    def fail(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", fail)
    with pytest.raises(OSError, match=NO_ROOM):
        train_loader([0], IgnoresCtrlC(), torch.Generator(), num_workers=1)
    train_loader([0], IgnoresCtrlC(), torch.Generator(), num_workers=0)


def test_a_worker_that_is_killed_for_want_of_shared_memory_is_explained():
    killed = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
    killed += "dataloader's workers are out of shared memory."
    with pytest.raises(OSError, match=NO_ROOM), naming_full_shared_memory():
        raise RuntimeError(killed)
    with pytest.raises(RuntimeError, match="out of memory"), naming_full_shared_memory():
        raise RuntimeError("CUDA out of memory")


def test_the_fingerprint_of_data_is_that_of_its_images_and_labels_wherever_they_lie(faces, voted_faces, tmp_path):
    def fingerprint(data, **fields):
        data = data if isinstance(data, dict) else str(data)
        return data_fingerprint(load_faces(Recipe("out", data=data, split="random", **fields)))

    copy = shutil.copytree(faces, tmp_path / "copy", copy_function=shutil.copyfile)  # with times of its own
    before = fingerprint(copy)
    assert before == fingerprint(faces)
    joined = {"one": {"data": str(copy), "repeat": 2}, "two": {"data": str(faces)}}
    assert len({before, fingerprint(faces, seed=1), fingerprint(voted_faces), fingerprint(joined)}) == 4

    image = next((copy / "Happy").iterdir())
    image.write_bytes(image.read_bytes() + b"more")
    changed = fingerprint(copy)
    image.rename(copy / "Sad" / image.name)
    assert len({before, changed, fingerprint(copy)}) == 3
