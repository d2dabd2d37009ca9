"""The very clips that authors scored, where the recordings at hand carry the names of their list. Knows nothing of models."""

from pathlib import Path, PurePath

from worldsim.data.published_splits import published_split
from worldsim.data.trajectory_file import trajectory_paths
from worldsim.errors import InvalidInput
from worldsim.experiments.video_clips import Clip, ClipList


def published_clips(folder: Path, domain: str, length: int) -> ClipList | None:
    """One clip of `length` frames for each episode below `folder` that a published list gives a begin, in the order of that list.

    None where no episode has such a name. The seed of the list is 0: nothing was drawn.

    Raises:
        InvalidInput: no episodes there, or two of one name.
        UnknownName: no list for this domain.
    """
    split = published_split(domain)
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in trajectory_paths(folder)]
    numbered = [(split.number_of(PurePath(name).name), name) for name in names]
    found = {number: name for number, name in numbered if number in split.begins}
    if len(found) < sum(number in split.begins for number, _ in numbered):
        raise InvalidInput(f"two recordings below {folder} have one name of the published list; keep one")
    return (
        ClipList(tuple(Clip(found[number], begin) for number, begin in split.begins.items() if number in found), length, 0)
        if found
        else None
    )
