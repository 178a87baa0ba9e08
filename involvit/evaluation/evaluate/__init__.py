"""`involvit evaluate`: one model, or several side by side."""
