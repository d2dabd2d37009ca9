"""The measures of agreement that stand side by side wherever worlds, or a judge without and with a gate, are compared. Names only."""

MEASURES = {
    "pearson": "Pearson r",
    "mmrv": "MMRV",
    "phi": "phi of paired episodes",
    "bias": "bias (simulated - real)",
}
