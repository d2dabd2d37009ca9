"""What a line of verdicts and a line of timings looks like. Reads no file."""

from typing import Any


def is_verdict(row: Any) -> bool:
    """Whether this is what a judge said of an episode."""
    return (
        isinstance(row, dict)
        and row.keys() == {"episode", "score", "reason", "details"}
        and isinstance(row["episode"], str)
        and (row["score"] is None or (isinstance(row["score"], int | float) and 0 <= row["score"] <= 1))
        and isinstance(row["reason"], str)
        and isinstance(row["details"], dict)
    )


def is_session(row: Any) -> bool:
    """Whether this is how a session spent its time."""
    return (
        isinstance(row, dict)
        and row.keys() - {"lanes"} == {"seconds", "rollouts", "frames"}
        and isinstance(row["seconds"], dict)
        and all(isinstance(value, int | float) for value in (*row["seconds"].values(), row["rollouts"], row["frames"]))
    )
