import pytest
import torch

from involvit.training.batches import mix_batches

LABELS = torch.tensor([0, 1, 2, 2])


def images():
    """Four images, each of its own number."""
    return torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 16).clone()


def mix(labels, mixup_alpha, cutmix_alpha):
    (batch,) = mix_batches([{"pixel_values": images(), "labels": labels}], mixup_alpha, cutmix_alpha, 3)
    return batch["pixel_values"], batch["labels"]


def test_without_a_share_there_is_no_mixing():
    mixed, labels = mix(LABELS, None, None)
    assert torch.equal(mixed, images()) and labels is LABELS


@pytest.mark.parametrize("alphas", [(1.0, None), (None, 1.0), (1.0, 1.0)], ids=["mixup", "cutmix", "one of both"])
def test_labels_are_mixed_by_the_share_of_the_images(alphas):
    torch.manual_seed(0)
    for _ in range(20):
        mixed, labels = mix(LABELS, *alphas)
        assert labels.shape == (4, 3)
        assert torch.allclose(labels.sum(dim=1), torch.ones(4))
        # Image 0 is mixed with the last, image 3: the mean of the pixels tells the share.
        share = 1 - mixed[0].mean().item() / 3
        assert labels[0].tolist() == pytest.approx([share, 0, 1 - share], abs=1e-5)


@pytest.mark.parametrize("alphas", [(1.0, None), (None, 1.0)], ids=["mixup", "cutmix"])
def test_probabilities_are_mixed_by_the_share_of_the_images(alphas):
    torch.manual_seed(0)
    votes = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.25, 0.75]])
    mixed, labels = mix(votes, *alphas)
    share = 1 - mixed[0].mean().item() / 3
    torch.testing.assert_close(labels[0], share * votes[0] + (1 - share) * votes[3])


def test_the_global_seed_decides():
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(mix(LABELS, 1.0, 1.0)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    "labels", [torch.tensor([0, 1, -100, -100]), torch.tensor([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]])]
)
def test_a_batch_filled_up_with_images_that_do_not_count_stays_as_it_is(labels):
    mixed, same = mix(labels, 1.0, None)
    assert torch.equal(mixed, images()) and torch.equal(same, labels)
