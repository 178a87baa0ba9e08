"""`involvit audit`: what is wrong with a data set."""
