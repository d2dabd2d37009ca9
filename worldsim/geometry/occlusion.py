"""Which pixels of one frame are still to be seen in another. Knows no camera."""

from worldsim.geometry.arrays import Array, together
from worldsim.geometry.cameras import pixel_centres
from worldsim.geometry.sampling import cells, sample

SLACK = 0.05  # metres by which a depth may differ from that expected of what is seen again


def seen_again(before: Array, after: Array, flow: Array, rise: Array, slack: float = SLACK) -> Array:
    """Whether what a pixel shows stays in the frame and nothing comes before it: depth where it goes is what its own has become.

    Args:
        before: depth of the first frame, metres `[..., H, W]`.
        after: depth of the second, metres `[..., H, W]`.
        flow: from the first to the second, pixels `[..., H, W, 2]`.
        rise: change of depth on the way, metres `[..., H, W]`.
        slack: metres by which the two may differ; depth is that of the pixel gone to, not one between pixels, where an edge would blur.

    Returns:
        bool `[..., H, W]`, on the pixels of the first frame.
    """
    _, (before, after, flow, rise) = together(before, after, flow, rise)
    place, within = cells(pixel_centres(before) + flow, after.shape)
    return within & (abs(after.reshape(-1)[place] - (before + rise)) < slack)


def round_trip(forward: Array, backward: Array) -> Array:
    """`|F(u) + B(u + F(u))|`: by how much the flow back misses the pixel that the flow has left (Sundaram and others, ECCV 2010, eq. 5).

    Args:
        forward: from the first frame to the second, pixels `[..., H, W, 2]`.
        backward: from the second to the first, `[..., H, W, 2]`.

    Returns:
        Pixels `[..., H, W]`, on those of the first frame; beyond the frame, the flow back is that of its border.
    """
    xp, (forward, backward) = together(forward, backward)
    home = forward + sample(backward, pixel_centres(forward[..., 0]) + forward)
    return xp.linalg.norm(home, None, -1)


def consistent(forward: Array, backward: Array, within: float = 1.0) -> Array:
    """Pixels that the flow back brings home to within so many pixels, bool `[..., H, W]`: seen in both frames, if the flows are right."""
    return round_trip(forward, backward) < within
