"""Text as Hydra's grammar quotes it. Knows no command."""


def quoted(text: str) -> str:
    """`text` as a quoted string of Hydra's grammar, left alone where it is null, a list, a mapping or quoted already."""
    if text == "null" or text[:1] in ("[", "{") or (len(text) > 1 and text[0] == text[-1] and text[0] in "'\""):
        return text
    return always_quoted(text)


def always_quoted(text: str) -> str:
    """`text` as a quoted string of Hydra's grammar, whatever it is."""
    pieces = [piece + "\\" * (len(piece) - len(piece.rstrip("\\"))) for piece in text.split("'")]  # backslashes before a quote count double
    return "'" + "\\'".join(pieces) + "'"
