"""A recipe and faces in, a trained model out."""
