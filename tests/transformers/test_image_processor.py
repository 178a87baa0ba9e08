"""transformers' tests of image processors, on ours."""

import unittest

import pytest

from modeling_involvit import InvolViTImageProcessor, InvolViTImageProcessorPil

from .library_tests import ImageProcessingTester, ImageProcessingTestMixin

pytestmark = pytest.mark.transformers


class InvolViTImageProcessingTester(ImageProcessingTester):
    def __init__(self, parent, **kwargs):
        settings = {
            "size": {"height": 18, "width": 18},
            "do_resize": True,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        }
        super().__init__(parent, **settings | kwargs)

    def _get_image_processing_classes(self):
        return {"torchvision": InvolViTImageProcessor, "pil": InvolViTImageProcessorPil}


class ImageProcessorTest(ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = InvolViTImageProcessingTester
    test_cast_dtype = True

    @unittest.skip("its process does not import our package; tests/modeling_involvit tests a saved processor so")
    def test_pil_can_run_without_torchvision(self):
        pass
