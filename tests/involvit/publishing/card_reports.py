"""A model's configuration and the reports of runs that a model card is written from."""

LABELS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
CONFIG = {
    "model_type": "involvit",
    "architectures": ["InvolViTForImageClassification"],
    "auto_map": {"AutoConfig": "configuration_involvit.InvolViTConfig"},
    "branches": "fusion",
    "image_size": 64,
    "id2label": {str(index): label for index, label in enumerate(LABELS)},
}
JOINED = {
    "fer": {"data": "/home/anna/data/fer2013.zip", "split": "official"},
    "faces": {"data": "../wildfaces.zip", "split": "group", "repeat": 3},
}
VOTED = {
    "num_voted": 400,
    "voted_accuracy": 0.81111,
    "agreement_with_person": 0.66666,
    "human_accuracy": 0.72222,
    "human_agreement_with_person": 0.63333,
    "human_majority_share": 0.75555,
    "cross_entropy_to_votes": 0.98765,
    "entropy_of_votes": 0.54321,
    "js_divergence_to_votes": 0.12345,
}


def metrics_of(accuracy, support, intervals=None):
    """What the fer_report metric returns, as far as a card needs it; all figures differ from one another."""
    per_class = {
        label: {
            "precision": accuracy - index / 50,
            "recall": accuracy - index / 60,
            "f1": accuracy - index / 70,
            "support": n,
        }
        for index, (label, n) in enumerate(zip(LABELS, support, strict=True))
    }
    averages = {"macro_precision": accuracy - 0.011, "macro_recall": accuracy - 0.022, "macro_f1": accuracy - 0.033}
    report = {"num_images": sum(support), "accuracy": accuracy, **averages, "per_class": per_class}
    return (
        report | {"expected_calibration_error": accuracy / 10} | ({} if intervals is None else {"intervals": intervals})
    )


def report_of(data, sources=None, **recipe):
    report = {
        "metrics": metrics_of(0.61234, (60, 50, 40, 90, 80, 70, 60)),
        "history": [],
        "run": {
            "evaluated_on": "validation",
            "images": {"train": 1800, "validation": 450},
            "weights": "last epoch",
            "parameters": 4_012_345,
            "processes": 1,
            "device": "cpu",
            "mixed_precision": "no",
            "steps": 777,
            "recipe": {"output_dir": "/home/anna/runs/x", "data": data, "split": None, "num_epochs": 3, **recipe},
            "versions": {"torch": "2.15.0"},
        },
    }
    return report | ({} if sources is None else {"sources": sources})
