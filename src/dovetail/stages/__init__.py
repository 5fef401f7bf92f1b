"""The stages of dvc.yaml: one module each, same name. Functions of content, which DVC may skip or restore."""
