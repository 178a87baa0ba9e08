"""What train.py is made of beside the model and the data."""
