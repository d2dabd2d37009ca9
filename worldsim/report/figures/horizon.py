"""How the picture quality of a world model falls with the imagined step. Knows only what a replay of recordings wrote."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from worldsim.report.figures.style import ACCENT, SECOND, plot


def horizon(open_loop: Mapping[str, Any]) -> Figure:
    """PSNR over the imagined step when recorded actions are replayed, against repeating the last real frame.

    Args:
        open_loop: `steps`, `psnr` and `copy_psnr`, one number per step; where `psnr_interval` and `copy_psnr_interval` are there
            ([low, high] per step, null at a step that one recording reaches), they are drawn as bands.
    """
    figure, axes = plot(4.8, 3.0)
    for key, label, color in (("psnr", "world model", ACCENT), ("copy_psnr", "copying the last frame", SECOND)):
        axes.plot(open_loop["steps"], open_loop[key], color=color, linewidth=1.8, label=label)
        bands = open_loop.get(f"{key}_interval")
        if bands:
            low, high = np.array([band or (np.nan, np.nan) for band in bands], dtype=float).T
            axes.fill_between(open_loop["steps"], low, high, color=color, alpha=0.18, linewidth=0)
    axes.set(xlabel="imagined step", ylabel="PSNR (dB)")
    axes.legend(frameon=False, fontsize=9)
    return figure
