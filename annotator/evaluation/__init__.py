"""Predictions beside truth: read a file of predictions, find whose each is, and put every figure on it.

`predictions` reads, `comparison` joins, `figures` counts. Only labels of origin `labelled` or `control` are truth:
a point that a model placed, or that a reviewer saw a model place, says nothing about the model.
"""
