"""What others get to see of a model: its card, its Hub repository, its ONNX file."""
