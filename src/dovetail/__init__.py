"""Dovetail: the joints between DVC, Feast, MLflow, Evidently and Hydra."""
