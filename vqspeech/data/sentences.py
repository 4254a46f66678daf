"""Everyday English sentences put together from word lists, so that a corpus can be spoken without a download."""

from __future__ import annotations

import random
import re

# Some words are there for the rarer phonemes: ZH (measure, garage), OY (oyster, joyful), UH (book, cushion), TH and DH.
_WORDS = {
    "person": """the baker; my brother; her uncle; the old sailor; our teacher; a young doctor; the judge; Mister
        Boyd; the boy next door; the girl in yellow; my cousin Ruth; their mother; the shy painter; a tired driver;
        Joyce; the church choir; George; a kind stranger; the village cook; our noisy neighbor; Doctor Young; the
        thin waiter; the royal guard; his father; Thelma; a thoughtful nurse; the captain; both of the twins; your
        wife; Hugh""",
    "did": """carried; dropped; found; measured; painted; polished; borrowed; sold; pulled; pushed; hid; fixed; lost;
        unlocked; wrapped; chose; drew; weighed; shook; noticed; destroyed; put down; took; moved; photographed""",
    "do": """carry; drop; find; measure; paint; polish; borrow; sell; pull; push; hide; fix; unlock; wrap; choose;
        draw; weigh; shake; notice; destroy; put down; take; move; photograph""",
    "thing": """the wooden box; a leather purse; the yellow vase; my grandfather's watch; a beige cushion; the toy
        train; an azure hat; the heavy hook; a good book; the kitchen table; their treasure; the iron bridge; a
        coin; the television; a pair of thick gloves; the broken chair; a huge jar; the orange lamp; an old violin;
        the map; the sugar bowl; a bunch of keys; the wool jacket; your blue bicycle; a gold button; the big gate; a
        guitar; a cotton bag; a jewel; the oil can; the church bell""",
    "food": """fresh bread; a bowl of soup; boiled potatoes; cherry pie; six oysters; roast chicken; garlic sausages;
        sugar cookies; cheese and onions; thin noodles; a jar of honey; sour apples; hot pudding; peach jam; orange
        juice; smoked fish; raw mushrooms; vanilla yogurt; thirty pancakes; a cup of tea""",
    "cooked": """cooked; served; tasted; shared; burned; enjoyed; bought; wanted; ordered; refused; spoiled; made""",
    "animals": """wolves; gray horses; foxes; small fish; cows; sheep; young bears; white mice; chickens; birds;
        geese; thirsty camels; yellow frogs; puppies; zebras; monkeys; bees; owls; sharks; brown goats""",
    "number": """two; three; four; five; six; seven; eight; nine; ten; eleven; twelve; thirty; fifty; a hundred; many;
        a few; several; both; more than a thousand; about a dozen""",
    "moved": """ran; jumped; walked; crawled; flew; hurried; wandered; marched; swam; turned; rushed; drifted""",
    "across": """across the field; toward the river; past the garage; through the woods; over the bridge; up the hill;
        along the beach; into the cave; around the house; beyond the mountains; down the path; behind the church""",
    "place": """in the garage; near the river; under the bridge; by the front door; at the north shore; in the
        kitchen; behind the school; on the roof; beside the fountain; at the zoo; in a quiet village; above the
        shop; outside the museum; between two trees; on the southern coast; in the cool shade; at the oyster bar;
        below the tower; on the way to work; inside the old mill""",
    "time": """this morning; before sunrise; last Thursday; in the middle of June; every evening; after the storm;
        yesterday; at noon; on the third of March; during the long vacation; late at night; once a year; all winter;
        in her youth; on a cloudy day; two hours ago; as usual; on my birthday""",
    "quality": """bright; smooth; huge; rather dull; very quiet; quite warm; too cheap; ugly; joyful; rough; golden;
        thin; unusual; poisonous; dangerous; rusty; beautiful; nearly empty; useful; curious; worth a fortune;
        awful; pure""",
    "noun": """garden; mirror; engine; picture; jacket; river; voice; carpet; message; feather; puzzle; machine;
        choice; shadow; blanket; journey; window; kettle; decision; weather; collage; theater; cushion; pleasure;
        moustache""",
    "activity": """read a book; go fishing; sing in a choir; ride a horse; watch television; bake bread; write a
        letter; swim in the ocean; chop wood; play the violin; sleep in the shade; join the army; look at birds;
        build a house; learn French; measure the garden; wash the dishes; visit the museum; catch the early train;
        boil some water""",
    "feeling": """happy; nervous; foolish; hungry; proud; afraid; wise; tired; angry; thankful; surprised; cautious;
        annoyed; generous; rude; overjoyed; unsure; strong; lazy; cheerful""",
}
_LISTS = {name: [" ".join(entry.split()) for entry in words.split(";")] for name, words in _WORDS.items()}

_TEMPLATES = (
    "{time}, {person} {did} {thing} {place}",
    "{person} {did} {thing} and {did} {thing} {time}",
    "{person} {cooked} {food} {place} {time}",
    "{person} {cooked} {food}, but {person} {cooked} {food}",
    "{number} {animals} {moved} {across}, and {person} felt {feeling}",
    "{time}, {number} {animals} {moved} {across} and {moved} {across}",
    "why did {person} {do} {thing} {place}?",
    "did you {activity} {place}, or did {person} {do} {thing}?",
    "the {noun} was {quality}, but the {noun} {place} was {quality}",
    "{person} was too {feeling} to {activity} {time}",
    "{person} would rather {activity} than {activity}",
    "please {do} {thing} {place} and {activity}",
    "when {person} felt {feeling}, {person} {did} {thing}",
    "{person} said that the {noun} looked {quality} {time}",
    "they could {activity}, {activity} or {do} {thing} {place}",
    "nobody should {activity} with {number} {animals} {place}",
    "how {feeling} you are, and how {quality} your {noun} is!",
    "you put {food} on {thing} {place}, didn't you?",
)


def make_sentence(seed: int, key: str, shortest: int = 40, longest: int = 68) -> str:
    """Make one sentence, a pure function of `seed` and `key`.

    Parameters
    ----------
    seed : int
    key : str
        What tells sentences of one seed apart.
    shortest, longest : int
        Bounds of its length in characters.

    Examples
    --------
    >>> make_sentence(0, "a") == make_sentence(0, "a") != make_sentence(0, "b")
    True
    """
    generator = random.Random(f"{seed}/{key}")
    while True:
        text = re.sub(r"\{(\w+)\}", _WordPicker(generator), generator.choice(_TEMPLATES))
        if shortest <= len(text) <= longest:
            return text[0].upper() + text[1:] + ("" if text[-1] in "?!" else ".")


class _WordPicker:
    """Replaces each slot of a template by a word that the sentence has not used yet."""

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator
        self.used: set[str] = set()

    def __call__(self, slot: re.Match[str]) -> str:
        word = self.generator.choice([word for word in _LISTS[slot[1]] if word not in self.used])
        self.used.add(word)
        return word
