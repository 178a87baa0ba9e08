import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from involvit.training.augmentation import build_augmentation
from involvit.training.face_dataset import FaceDataset
from modeling_involvit import InvolViTImageProcessor

SPEC = [{"RandomBrightnessContrast": {"p": 1.0}}, {"Affine": {"rotate": [-30, 30], "p": 1.0}}]


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40 + i, 48, 3), dtype=np.uint8) for i in range(10)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"image": images, "label": list(range(10))}, features=features)


@pytest.fixture(scope="module")
def processor():
    return InvolViTImageProcessor(size={"height": 32, "width": 32})


def augmented(faces, processor, seed=0):
    return FaceDataset(faces, processor, build_augmentation(SPEC, 32), seed)


def pixels(dataset, epoch, order=range(10), num_workers=0):
    dataset.set_epoch(epoch)
    loader = DataLoader(dataset, batch_size=2, sampler=list(order), num_workers=num_workers)
    rows = {int(i): x for batch in loader for i, x in zip(batch["index"], batch["pixel_values"], strict=True)}
    return torch.stack([rows[i] for i in range(10)])


def test_without_augmentation_it_gives_what_the_processor_gives(faces, processor):
    dataset = FaceDataset(faces, processor)
    expected = processor(faces["image"], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(torch.stack([dataset[i]["pixel_values"] for i in range(10)]), expected)
    assert [dataset[i]["labels"] for i in range(10)] == list(range(10))


def test_augmentation_depends_on_seed_epoch_and_index_alone(faces, processor):
    reference = pixels(augmented(faces, processor), epoch=1)
    dataset = augmented(faces, processor)
    pixels(dataset, epoch=0)
    assert torch.equal(pixels(dataset, epoch=1, order=[7, 3, 9, 0, 1, 2, 4, 5, 6, 8]), reference)
    assert torch.equal(pixels(dataset, epoch=1, num_workers=2), reference)


def test_epochs_seeds_and_images_differ(faces, processor):
    same_image = faces.select([0] * 10)
    dataset = augmented(same_image, processor)
    first, second = pixels(dataset, epoch=0), pixels(dataset, epoch=1)
    assert len({x.numpy().tobytes() for x in first}) == 10
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first, pixels(augmented(same_image, processor, seed=1), epoch=0))


def test_workers_that_outlive_an_epoch_see_the_next_one(faces, processor):
    dataset = augmented(faces, processor)
    dataset.epoch.share_memory_()
    loader = DataLoader(dataset, batch_size=10, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        (batch,) = loader
        assert torch.equal(batch["pixel_values"], pixels(augmented(faces, processor), epoch))


def test_votes_become_probabilities_in_place_of_the_class(faces, processor):
    votes = np.random.default_rng(1).dirichlet(np.ones(7), 10).astype(np.float32).tolist()
    dataset = FaceDataset(faces.add_column("votes", votes), processor, target="votes")
    (batch,) = DataLoader(dataset, batch_size=10)
    assert batch["labels"].dtype == torch.float32
    torch.testing.assert_close(batch["labels"], torch.tensor(votes))
