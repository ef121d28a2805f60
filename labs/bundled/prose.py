"""Running text: campus news in two languages, plain English prose, small Python functions.

It teaches the models ordinary language, is the text that the tokenizer is learned from, and is what
perplexity is measured and compression is calibrated on.
"""

import re
from collections.abc import Iterator
from random import Random

from labs.bundled.corpus import PRETRAINING_BUCKETS, bucket
from labs.bundled.words import NAMES, TEAMS, listed

DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
NOUNS = listed("""
    animal answer apple area arm art baby bag ball bank bed bird boat body book bottle box boy bread
    bridge brother building bus business camera car case cat chair change child church city class
    cloud coat coffee college company computer corner country course cup day decision desk doctor dog
    door dream drink driver effect engine evening example experiment eye face fact family farm
    father field film fire fish floor flower food forest friend game garden girl glass government
    group hand head health history home horse hospital hotel hour house idea island job journey
    kitchen language law lesson letter library life light line list machine man map market meal
    meeting message minute model moment money month morning mother mountain mouth music name nature
    newspaper night number ocean office paper parent park part party path person phone picture piece
    place plan plant player point police price problem product program project question rain reason
    record report result river road room rule school science sea season shop side sister sky society
    son song sound space station story street student summer sun system table teacher team test
    thing town train tree trip truth village voice wall war water way weather week wife wind window
    winter woman word work world writer year
""")
ADJECTIVES = listed("""
    able bad beautiful best better big black blue bright careful cheap clean clear cold common dark
    deep different difficult dry early easy empty expensive famous fast fine first free fresh full
    good great green happy hard heavy high hot important interesting large last late left light
    little local long loud low main modern narrow natural new next nice old open own perfect poor
    popular possible quick quiet ready real red rich right round sad safe second serious short
    simple slow small soft special strange strong sure sweet tall thick thin tired true usual warm
    white whole wide wild wonderful wrong young
""")
VERBS = listed("""
    added asked became began believed bought brought built called carried changed closed considered
    continued covered created decided described drew drove explained felt finished followed forgot
    found gave grew happened heard helped kept knew learned left liked listened lived looked lost
    loved made met moved needed offered opened painted passed played pulled pushed put reached read
    received remembered returned said saw sent served showed sold spoke started stayed stopped
    studied took talked taught thought told tried turned understood used visited waited walked
    wanted watched wondered worked wrote
""")
LINKS = listed("and but because although while when before after until so")
ADVERBS = listed("""
    again almost already always away early even however later maybe never now often once only
    perhaps quickly quietly really seldom slowly soon sometimes still suddenly then there together
    usually very well yesterday
""")
PLACES = listed("in on at under behind near beside across from into through over between around")
NEWS = (
    "The {team} team will visit {building} on {day}.",
    "On {day} the {item} of {building} will be replaced by {name} and {other}.",
    "{name} from the {team} team said that {count} tickets about the {item} were closed.",
    "Students can ask for a new {item} at the desk in {building} until {day}.",
    "The {item} in room {room} was repaired in {count} minutes.",
    "{name} thanked {other} for the help with the {item}.",
    "Please do not use the {item} in room {room} before {day}.",
    "Last month the {team} team answered {count} questions about each {item}.",
    "If the {item} {fault}, write to the {team} team and name the room.",
    "A course about the {item} starts on {day} at {hour} in {building}.",
)
CHINESE_NEWS = (
    "{team}小組在{day}會到{room}教室檢查{item}。",
    "如果{item}{fault},請告訴服務台你的教室與姓名。",
    "上個月一共處理了{count}件關於{item}的問題。",
    "{room}教室的{item}已經修好了,謝謝大家的耐心。",
    "圖書館的{item}在{day}下午暫停使用。",
    "學生可以在{day}以前到服務台領取新的{item}。",
)
CHINESE_TEAMS = dict(
    zip((t.name for t in TEAMS), listed("網路 帳號 硬體 軟體 列印 設施"), strict=True)
)
CHINESE_DAYS = listed("星期一 星期二 星期三 星期四 星期五")
BUILDINGS = listed(
    "the library;the main hall;the science building;the old tower;the north wing", ";"
)
FUNCTION_VERBS = listed("get set load save read write parse format check find create update remove")
FUNCTION_NOUNS = listed("value path file name config record message index size line row user")
TYPES = listed("str;int;float;bool;bytes;None;list[str];dict[str, Any];Path;Iterator[int]", ";")
REMARKS = (
    "Return a list of strings, one for each line of the input, without the trailing newline.",
    "If the argument is not a string, a TypeError is raised.",
    "This method should be called only once, otherwise the result is undefined.",
    "The optional arguments have the same meaning as in the constructor.",
    "Returns True if the object exists, otherwise False.",
    "Raises KeyError if the key is not found in the mapping.",
    "Helper class used to handle the default values of attributes.",
    "Return an iterator over all items that match the given pattern.",
    "The function returns a tuple of two integers: the start and the end position.",
    "Convert the encoded data to a new instance of this type, using the specified format.",
    "Subclasses may override this method; the default implementation does nothing.",
    "See the documentation of the module for more information and examples.",
    "Args: the number of bytes to read. Returns: the data as bytes.",
    "Close the connection to the server and wait until each thread has stopped.",
)


def documents(random: Random, buckets: range = PRETRAINING_BUCKETS) -> Iterator[str]:
    """An endless stream of short documents of all kinds, out of the given buckets."""
    kinds = (news, chinese_news, prose, function)
    while True:
        text = random.choices(kinds, (0.4, 0.2, 0.25, 0.15))[0](random)
        if bucket(text) in buckets:
            yield text


def news(random: Random) -> str:
    team = random.choice(TEAMS)
    building, name = random.choice(BUILDINGS), random.choice(NAMES)
    return " ".join(
        random.choice(NEWS).format(
            team=team.name,
            building=building,
            name=name,
            other=random.choice(NAMES),
            day=random.choice(DAYS),
            item=random.choice(team.things).en,
            fault=random.choice(team.faults).en,
            room=random.randrange(100, 1000),
            count=random.randrange(2, 100),
            hour=f"{random.randrange(8, 18)}:{random.choice(('00', '15', '30'))}",
        )
        for _ in range(random.randrange(3, 6))
    )


def chinese_news(random: Random) -> str:
    team = random.choice(TEAMS)
    sentences = random.sample(CHINESE_NEWS, random.randrange(2, 5))
    return "".join(
        sentence.format(
            team=CHINESE_TEAMS[team.name],
            day=random.choice(CHINESE_DAYS),
            room=random.randrange(100, 1000),
            item=random.choice(team.things).zh,
            fault=random.choice(team.faults).zh,
            count=random.randrange(2, 100),
        )
        for sentence in sentences
    )


def prose(random: Random) -> str:
    return " ".join(_sentence(random) for _ in range(random.randrange(2, 6)))


def _sentence(random: Random) -> str:
    sentence = f"{_clause(random)} {random.choice(PLACES)} {_noun_phrase(random)}"
    if random.random() < 0.5:
        sentence += f", {random.choice(LINKS)} {_clause(random)}"
    if random.random() < 0.3:
        sentence = f"{random.choice(ADVERBS)} {sentence}"
    return sentence[0].upper() + sentence[1:] + "."


def _clause(random: Random) -> str:
    subject = random.choice(("he", "she", "they", "we", "I", "it", _noun_phrase(random)))
    return f"{subject} {random.choice(VERBS)} {_noun_phrase(random)}"


def _noun_phrase(random: Random) -> str:
    article = random.choice(("the", "the", "a", "this", "that", "his", "her", "our", "their", "no"))
    adjective = f"{random.choice(ADJECTIVES)} " if random.random() < 0.5 else ""
    phrase = f"{article} {adjective}{random.choice(NOUNS)}"
    return re.sub(r"\ba (?=[aeiou])", "an ", phrase)


def function(random: Random) -> str:
    verb, noun = random.choice(FUNCTION_VERBS), random.choice(FUNCTION_NOUNS)
    argument, kind, result = (
        random.choice(FUNCTION_NOUNS),
        random.choice(TYPES),
        random.choice(TYPES),
    )
    default = random.choice(("", " = None", " = 0", ' = ""'))
    phrase = f"{verb.capitalize()} the {noun} of the given {argument}"
    end = random.choice((" and return it.", ".", ", or raise ValueError if it is missing."))
    remark = f"\n\n    {random.choice(REMARKS)}\n    " if random.random() < 0.6 else ""
    return (
        f"def {verb}_{noun}({argument}: {kind}{default}) -> {result}:\n"
        f'    """{phrase}{end}{remark}"""\n'
        f"    return self.{noun}[{argument}]"
    )
