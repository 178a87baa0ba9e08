from dataset_script import LABELS
from involvit.training.scoring import fer_metric
from modeling_involvit import LABELS as MODEL_LABELS


def test_the_class_order_is_the_same_everywhere():
    metric = fer_metric().compute(predictions=[0], references=[0])
    assert LABELS == MODEL_LABELS == tuple(metric["per_class"])
