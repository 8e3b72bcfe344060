"""How sweeps run here. Hydra finds its plugins under `hydra_plugins`, which is a namespace: it has no __init__."""
