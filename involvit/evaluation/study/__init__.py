"""`involvit study`: variants of a recipe on repeated splits."""
