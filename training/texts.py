"""What the synthetic voices say: phrases of the vocabulary, mixtures, prose outside it.

Source of the prose: Debian packages `bible-kjv` (King James Version, public domain) and a
pronouncing dictionary for single words. Read by `training.generate`.
"""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from training import vocabulary as v

CARRIERS = [
    "please say {} for me", "i want {} now", "could you {} it", "then we went {} with them",
    "the answer is {}", "my choice was {} i think", "she told me {} and nothing else",
    "is that {} or something different", "we need {} of these", "maybe {} would be better",
    "it says {} on the screen", "he asked about {} this morning", "let me hear {} one more time",
]  # fmt: skip
MENU = [
    "press {d}", "press {d} {d}", "enter {d} {d} {d} {d}", "call operator", "call family",
    "call friends", "call work", "delete message", "save message", "play message",
    "next message", "previous message", "repeat message", "first message", "last message",
    "old message", "urgent message", "record message", "repeat please", "help please",
    "operator please", "transfer please", "cancel please", "yes please", "okay thanks",
    "no thanks", "start again", "play again", "call again", "stop", "exit menu", "open menu",
    "close menu", "next menu", "previous menu", "extension {d} {d} {d}", "number {d}",
    "star {d} {d}", "press star", "press pound", "{d} pound", "enter password", "enter number",
    "save number", "hello operator", "goodbye", "thanks goodbye", "sorry", "go left",
    "turn right", "forward {n}", "back {n}", "left {n} right {n}", "north east", "south west",
    "north west", "south east", "front center", "front left", "front right", "rear center",
    "rear left", "rear right", "side left", "side right", "{n} hours", "{n} dollars",
    "{day} {month} {n}", "{month} {n}", "{day}", "{month}", "today", "off", "pause {n}",
]  # fmt: skip
CONFUSED = [
    "two june to you tune do new", "four forward fourteen forty for forty fort before",
    "three thirteen thirty free third tree", "five fifteen fifty nine fife fine", "six sixteen sixty sicks",
    "seven seventeen seventy eleven heaven", "eight eighteen eighty april ate hate", "nine nineteen ninety five line",
    "one won number on want", "zero january february hero zoo", "ten tuesday ton then", "twelve twenty twelfth two",
    "first forward thirty", "march part star start stop", "may eight play pay", "no nine north november know",
    "right write five wife", "front friends one friend", "work forward word", "east eighteen yeast each", "off of up",
    "press plus yes rest", "last left rest august", "call old fall hall", "old hold gold hello no",
    "left eleven message lift", "pound down hundred round", "hours four ours flowers", "point play join",
    "minus mine nine", "million thousand minimum", "open oh hope operator", "back pack rear", "side five star sight",
    "december september november remember", "sunday monday someday", "saturday thursday yesterday", "june tune two",
    "july july's reply", "okay okra cake", "save seven safe", "start star stop", "next exit text", "enter center entry",
    "record recall call", "delete repeat receipt", "please pause piece", "transfer answer", "help hope hello health",
]  # fmt: skip
"""Words that were taken for one another, with words outside the vocabulary that sound like them."""
NEAR = (
    "to for won ate oh owe write sex sick hate fore wan tree free fire five-star nigh line mine sign "
    "heaven leaven even sever tan den tin thirst first-class forty-niner fort sixth fifth ninth eighth "
    "tenth fourth third second seconds minute minutes hour dollar message-board note know go so low "
    "guess less mess dress stress cress pressed bless chess top shop drop stock start-up smart heart part "
    "tart stark star-fish far car bar tar ready head said red rest best test text vest nest lost past fast "
    "cast mast heel helm held health kelp calm came cape cancer candle handle pay pray day they way say "
    "plate place plain clothes closed clause chose those rose mark arch larch match much made maid main "
    "male june-bug tune moon soon prune duly lie august-us octagon member remember ember summer timber "
    "son sun sung money man many funny sundae monk mundane twos tools thursty first fry friar cry tried "
    "set sat satire saturn sure morrow borrow sorrow narrow story glory sarah starry off-hand cough soft "
    "half have laugh leaf life lift lofty loft rift rite light night might fight sight height bright kite "
    "norm fourths forth worth birth mouth house sou out shout doubt town dawn gown brown drown done dun "
    "cup pup tub hub hop sup stuff back-up black pack rack tack bag bad wide slide sight ride tide size "
    "renter center-piece sender tender under winter enters entered opener hoping close-by posing pounds "
    "found round sound ground bound mound hound panned pawned point-blank joint oint paint pint appoint "
    "minor miner mines hundredth thousands millions villain billion william brilliant alien menus many "
    "meaning many venue value avenue hell yellow hallow halo fellow jello mellow help-line kelp whelp "
    "yet yeah yells guests chest know-how nose nope now noon none known tone tony twin twenties train "
    "rain brain drain main-land please-d plea plead police peas piece peace tease these those sees season "
    "reason safe shave wave gave cave slave sage same record-player wreck chord board afford ford order "
    "border corner former farmer normal format transport transform translate answer transfers operate opera "
    "operation tractor factor actor doctor family-tree familiar famous lamb camera friend fringe trend spend"
).replace("-", " ")  # fmt: skip


def dictionary() -> dict[str, str]:
    """Return the single-word pronouncing dictionary that the aligner uses (word -> phones)."""
    import pocketsphinx  # noqa: PLC0415 - not needed to train on aligned speech

    path = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    entries = (line.split(" ", 1) for line in path.read_text().splitlines())
    return {word: phones.strip() for word, phones in entries if "(" not in word}


def prose(known: dict[str, str]) -> list[str]:
    """Return sentences of 4 to 16 words, all of them in the dictionary."""
    books = ["ruth", "est", "eccl", "mark", "luke", "acts", "prov", "jonah", "gen", "1sam"]
    sentences: list[str] = []
    for book in books:
        text = subprocess.run(
            ["bible", "-f", f"{book}1:1-{book}16:60"],  # noqa: S607 - a package of the system
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for line in text.replace(":", ".").replace(";", ".").replace("?", ".").split("."):
            words = [word for word in v.normalised(line) if len(word) > 1 or word in "ai"]
            if 4 <= len(words) <= 16 and all(word in known for word in words):
                sentences.append(" ".join(words))
    return sentences


class Texts:
    """An endless, seeded supply of texts; commas are pauses."""

    def __init__(self, seed: int, out_of_vocabulary: float = 0.3) -> None:
        self.random = random.Random(seed)
        self.known = dictionary()
        self.prose = prose(self.known)
        self.rare = [word for word in self.known if 3 <= len(word) <= 11 and "." not in word]
        self.near = [word for word in NEAR.split() if word in self.known and word not in v.VOCABULARY]
        self.out_of_vocabulary = out_of_vocabulary
        self.deck: list[str] = []

    def word(self) -> str:
        """Return the next word of a reshuffled deck, so that all words come equally often."""
        if not self.deck:
            self.deck = v.WORDS * 2 + v.DIGITS * 3 + v.TEENS + v.TENS
            self.random.shuffle(self.deck)
        return self.deck.pop()

    def digits(self) -> str:
        """Return 3 to 8 digits, sometimes in groups."""
        out = ""
        for index in range(self.random.randint(3, 8)):
            gap = "" if index == 0 else self.random.choice([" ", " ", " ", ", "])
            out += gap + self.random.choice(v.DIGITS)
        return out

    def number(self) -> str:
        """Return a number below a thousand million as words of the vocabulary."""
        kind = self.random.random()
        small = self.random.choice(v.TEENS + v.TENS + v.DIGITS)
        two = f"{self.random.choice(v.TENS)} {self.random.choice(v.DIGITS[1:])}"
        if kind < 0.4:
            return two
        if kind < 0.55:
            return small
        scale = self.random.choice(["hundred", "thousand", "million", "point", "hundred"])
        return f"{self.random.choice(v.DIGITS[1:] + v.TEENS)} {scale} {self.random.choice([two, small])}"

    def listed(self) -> str:
        """Return 3 to 6 words with pauses between them."""
        return ", ".join(self.word() for _ in range(self.random.randint(3, 6)))

    def phrase(self) -> str:
        """Return 2 to 5 random words of the vocabulary without pauses."""
        return " ".join(self.word() for _ in range(self.random.randint(2, 5)))

    def menu(self) -> str:
        """Return something that a caller says to a voice menu."""
        out = self.random.choice(MENU)
        while "{" in out:
            for key, supply in (
                ("{d}", v.DIGITS),
                ("{n}", v.DIGITS + v.TEENS + v.TENS),
                ("{day}", v.DAYS),
                ("{month}", v.MONTHS),
            ):
                out = out.replace(key, self.random.choice(supply), 1)
        return out

    def careful(self) -> str:
        """Return one to three words, each said by itself, as prompts are recorded."""
        return ", ".join(self.word() for _ in range(self.random.choice([1, 1, 2, 3])))

    def confused(self) -> str:
        """Return 3 to 5 words that are easily taken for one another, with or without pauses."""
        words = [word for word in self.random.choice(CONFUSED).split() if word in self.known]
        picked = [self.random.choice(words) for _ in range(self.random.randint(3, 5))]
        return self.random.choice([" ", ", ", ", "]).join(picked)

    def outside(self) -> str:
        """Return speech that is mostly outside the vocabulary."""
        kind = self.random.random()
        if kind < 0.6:
            return self.random.choice(self.prose)
        if kind < 0.8:
            return ", ".join(
                self.random.choice(self.random.choice([self.rare, self.near, self.near]))
                for _ in range(self.random.randint(3, 6))
            )
        return self.random.choice(CARRIERS).format(self.word())

    def __iter__(self) -> Iterator[str]:
        makers = [
            *(self.digits, self.number, self.listed, self.listed, self.phrase, self.menu),
            *(self.careful, self.careful, self.confused),
        ]
        while True:
            if self.random.random() < self.out_of_vocabulary:
                yield self.outside()
            else:
                yield self.random.choice(makers)()
