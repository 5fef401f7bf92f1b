"""Model cards: gathered from what the gate found, from MLflow and DVC's cache, and put where people look."""
