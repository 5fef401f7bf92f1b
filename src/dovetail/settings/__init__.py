"""Settings: conf/ is the source, params.yaml its composition, dvc.yaml says which stage may see which keys."""
