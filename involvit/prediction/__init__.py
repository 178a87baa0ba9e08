"""Images and videos in, faces with the probabilities of their expressions out."""
