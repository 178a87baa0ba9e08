import pytest
import torch
from timm.layers import StdConv2dSame
from torch import nn

from modeling_involvit import InvolViTForImageClassification, RedNet, fold_for_inference

from .involvit_reference import randomize


@pytest.mark.parametrize("branches", ["fusion", "rednet", "vit"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_folded_model_is_the_same_function(tiny_config, images, branches, dtype):
    model = randomize(InvolViTForImageClassification(tiny_config(branches=branches))).to(dtype).eval()
    with torch.no_grad():
        before = model(images.to(dtype)).logits
        fold_for_inference(model)
        after = model(images.to(dtype)).logits
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(after, before, rtol=tolerance, atol=tolerance)
    left = [name for name, module in model.named_modules() if isinstance(module, (nn.BatchNorm2d, StdConv2dSame))]
    # those after an involution, which is linear in its kernels and not in its weights
    assert all(name.endswith("bn2") or name == "involvit.rednet.stem.2" for name in left)
    assert bool(left) == (branches != "vit")


@pytest.mark.parametrize("part", ["", "involvit.rednet", "involvit.vit"])
def test_a_folded_model_is_not_saved(tiny_config, tmp_path, part):
    model = InvolViTForImageClassification(tiny_config()).eval()
    fold_for_inference(model.get_submodule(part))
    with pytest.raises(ValueError, match="save it before fold_for_inference"):
        model.save_pretrained(tmp_path / "folded")
    assert not (tmp_path / "folded").exists()


def test_a_model_in_training_is_not_folded():
    with pytest.raises(ValueError, match=r"call eval\(\) on the model first"):
        fold_for_inference(RedNet((1,), (64,)))
