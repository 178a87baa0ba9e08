"""Honest measurement: comparison of models, studies of recipes, robustness, and audits of data.

Everything here is behind `involvit evaluate`, `involvit study`, `involvit robustness` and `involvit audit`.
"""
