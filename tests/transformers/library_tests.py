"""The test mixins of transformers, from the source distribution of the version that is installed.

`make test-transformers` unpacks it. It holds the mixins but not the folders beside them, which they import: what stands
in for those is here. Two mixins have nothing to run without these folders: PipelineTesterMixin (its tests are in
tests/pipelines, its models on the Hub) and ExportTesterMixin (tests/exporters).
"""

import copy
import importlib
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import skimage
import transformers
from transformers.models.auto import modeling_auto

NAME = "transformers_tests"
FOLDER = Path(__file__).parents[2] / f"build/transformers-{version('transformers')}/tests"
IMAGE = Path(skimage.__file__).parent / "data/astronaut.png"

# What a model of the library would stand in: the mixins look there for what a class is.
modeling_auto.MODEL_MAPPING_NAMES["involvit"] = "InvolViTModel"
modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES["involvit"] = "InvolViTForImageClassification"
modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES["involvit"] = "InvolViTBackbone"


def _provide(name: str, **contents: object) -> None:
    """Makes a module of the given contents importable, and the packages above it."""
    module = ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
    package, _, _ = name.rpartition(".")
    if package and package not in sys.modules:
        _provide(package, __path__=[])


def _load(name: str) -> ModuleType:
    """Imports one file of the folder, as a module of a package whose other folders are the stand-ins."""
    if NAME not in sys.modules:
        if not FOLDER.is_dir():
            raise FileNotFoundError(f"{FOLDER} is not there; run make test-transformers, which unpacks it")
        _provide(NAME, __path__=[str(FOLDER)])
        _provide(f"{NAME}.exporters.test_export", ExportTesterMixin=object)
        _provide(f"{NAME}.generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
        _provide(f"{NAME}.utils.test_configuration_utils", config_common_kwargs=COMMON_SETTINGS)
        _provide("fetch_hub_objects_for_ci", url_to_local_path=lambda url: str(IMAGE))
        # It would execute a second copy of the library, from a source tree.
        transformers.utils.direct_transformers_import = lambda path: transformers
    return importlib.import_module(f"{NAME}.{name}")


# Settings that each configuration takes, none of them a default.
COMMON_SETTINGS = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 3,
    "architectures": ["SomeModel"],
    "id2label": {0: "only"},
    "label2id": {"only": 0},
    "problem_type": "regression",
}

# The library's takes each setting named *_std for a width of initialisation; ours are statistics of images.
_load("test_modeling_common")._config_zero_init = copy.deepcopy

ConfigTester = _load("test_configuration_common").ConfigTester
ModelTesterMixin = _load("test_modeling_common").ModelTesterMixin
BackboneTesterMixin = _load("test_backbone_common").BackboneTesterMixin
ImageProcessingTester = _load("test_image_processing_common").ImageProcessingTester
ImageProcessingTestMixin = _load("test_image_processing_common").ImageProcessingTestMixin
