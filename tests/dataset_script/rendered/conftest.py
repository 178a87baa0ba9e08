from dataclasses import replace

import numpy as np
import pytest

from dataset_script.rendered.action_units import ACTION_UNITS
from dataset_script.rendered.face_geometry import face_curves, sample_proportions
from dataset_script.rendered.shot import sample_shot


@pytest.fixture(scope="module")
def face():
    return face_curves(sample_proportions(np.random.default_rng(0)), dict.fromkeys(ACTION_UNITS, 0.0))


@pytest.fixture(scope="module")
def frontal():
    """A sharp, frontal shot under light from straight ahead."""
    shot = sample_shot(np.random.default_rng(0))
    return replace(
        shot,
        **{"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "offset": (0.0, 0.0), "gaze": (0.0, 0.0), "scale": 0.36},
        **{"light": np.array([0.0, 0.0, 1.0]), "tint": np.ones(3), "blur": 0.0, "noise": 0.0, "occluder": "none"},
    )
