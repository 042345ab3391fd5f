"""The closed vocabulary of the embedded checkpoint and its token ids; read by every other step."""

import re


def _listed(words: str) -> list[str]:
    return words.split()


DIGITS = _listed("zero one two three four five six seven eight nine")
TEENS = _listed("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS = _listed("twenty thirty forty fifty sixty seventy eighty ninety")
SCALES = _listed("hundred thousand million point minus")
ANSWERS = _listed("yes no okay")
DAYS = _listed("monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday")
MONTHS = _listed("january february march april may june july august september october november december")
DIRECTIONS = _listed("up down left right north south east west front rear side center forward back")
COMMANDS = _listed(
    "start stop play pause cancel help repeat next previous continue again menu exit call hello "
    "goodbye thanks please sorry message delete save record transfer operator number extension "
    "password star pound press enter open close"
)
OTHERS = _listed("first last urgent work family friends old hours dollars off")

GROUPS: dict[str, list[str]] = {
    "digits": DIGITS,
    "teens": TEENS,
    "tens": TENS,
    "scales": SCALES,
    "answers": ANSWERS,
    "days": DAYS,
    "months": MONTHS,
    "directions": DIRECTIONS,
    "commands": COMMANDS,
    "others": OTHERS,
}
WORDS: list[str] = [word for group in GROUPS.values() for word in group]
VOCABULARY = frozenset(WORDS)

BOUNDARY = 0
"""Text token that marks the start of a word."""
PADDING = 3
"""Text token of a frame that says nothing."""
FIRST_WORD = 4
"""Id of the first whole-word piece: word i of WORDS is piece FIRST_WORD + i."""


def token_of(word: str) -> int | None:
    """Return the id of the word's whole-word piece, None if it is out of the vocabulary."""
    return _TOKENS.get(word)


def normalised(text: str) -> list[str]:
    """Return the lower-case words of a text: letters and apostrophes only."""
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


_TOKENS = {word: FIRST_WORD + index for index, word in enumerate(WORDS)}
