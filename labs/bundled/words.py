"""The words of the invented campus: teams, things, faults, clues and names, in English and Chinese."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """One meaning in both languages."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Team:
    """A team of the help desk, what it looks after, and what goes wrong there."""

    name: str
    code: str
    topic: str
    things: tuple[Word, ...]
    faults: tuple[Word, ...]


def listed(text: str, separator: str | None = None) -> tuple[str, ...]:
    """The words of a text, which reads better than a column of quoted ones."""
    return tuple(text.split(separator))


def _words(*lines: str) -> tuple[Word, ...]:
    return tuple(Word(*line.split(" = ")) for line in lines)


TEAMS = (
    Team(
        "Network",
        "NET",
        "connectivity",
        _words(
            "wifi = 無線網路",
            "router = 路由器",
            "network cable = 網路線",
            "hotspot = 熱點",
            "switch = 交換器",
            "firewall = 防火牆",
        ),
        _words(
            "is very slow = 很慢",
            "keeps dropping = 一直斷線",
            "does not connect = 連不上",
            "is down = 中斷了",
            "has no signal = 沒有訊號",
        ),
    ),
    Team(
        "Accounts",
        "ACC",
        "identity",
        _words(
            "password = 密碼",
            "account = 帳號",
            "student card = 學生證",
            "mailbox = 信箱",
            "certificate = 憑證",
            "user name = 使用者名稱",
        ),
        _words(
            "was locked = 被鎖住了",
            "has expired = 過期了",
            "is not accepted = 不被接受",
            "needs a reset = 需要重設",
            "is not found = 找不到",
        ),
    ),
    Team(
        "Hardware",
        "HRD",
        "equipment",
        _words(
            "laptop = 筆電",
            "projector = 投影機",
            "keyboard = 鍵盤",
            "monitor = 螢幕",
            "microphone = 麥克風",
            "tablet = 平板",
        ),
        _words(
            "does not start = 無法開機",
            "is broken = 壞了",
            "makes a strange noise = 有怪聲",
            "stays dark = 沒有畫面",
            "gets very hot = 很燙",
        ),
    ),
    Team(
        "Software",
        "SFT",
        "applications",
        _words(
            "editor = 編輯器",
            "browser = 瀏覽器",
            "compiler = 編譯器",
            "spreadsheet = 試算表",
            "video player = 播放器",
            "calendar = 行事曆",
        ),
        _words(
            "crashes = 當掉了",
            "shows an error = 顯示錯誤",
            "does not open = 打不開",
            "is too old = 太舊了",
            "needs a licence = 需要授權",
        ),
    ),
    Team(
        "Printing",
        "PRN",
        "documents",
        _words(
            "printer = 印表機",
            "scanner = 掃描器",
            "copier = 影印機",
            "plotter = 繪圖機",
            "toner = 碳粉",
            "paper tray = 紙匣",
        ),
        _words(
            "is jammed = 卡紙了",
            "is empty = 用完了",
            "leaves black lines = 有黑線",
            "prints nothing = 印不出來",
            "needs a new part = 要換零件",
        ),
    ),
    Team(
        "Facilities",
        "FAC",
        "building",
        _words(
            "heater = 暖氣",
            "window = 窗戶",
            "door = 大門",
            "lamp = 電燈",
            "whiteboard = 白板",
            "air conditioner = 冷氣",
        ),
        _words(
            "is stuck = 卡住了",
            "is damaged = 損壞了",
            "rattles all day = 整天作響",
            "came loose = 鬆脫了",
            "smells of smoke = 有焦味",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Level:
    """How much a ticket presses: its word, its code, and the sentences that give it away."""

    urgency: str
    priority: str
    promise: str
    clues: tuple[Word, ...]


LEVELS = (
    Level(
        "high",
        "P1",
        "at once",
        _words(
            "The exam starts in ten minutes. = 十分鐘後就要考試。",
            "The whole class is waiting. = 全班都在等。",
            "We cannot work at all. = 我們完全不能工作。",
            "This is urgent. = 這件事很急。",
            "Please come at once. = 請馬上過來。",
            "Our guests are already here. = 客人已經到了。",
        ),
    ),
    Level(
        "normal",
        "P2",
        "this week",
        _words(
            "Please fix it this week. = 請在這週修好。",
            "Tomorrow would be good. = 明天處理就好。",
            "We need it by Friday. = 星期五以前要用。",
            "Could you look at it today? = 今天可以來看嗎?",
            "It is for the next lesson. = 下一堂課會用到。",
            "Some of us are affected. = 有些人受到影響。",
        ),
    ),
    Level(
        "low",
        "P3",
        "next month",
        _words(
            "There is no hurry. = 不用急。",
            "It can wait. = 可以慢慢來。",
            "Next month is fine. = 下個月也可以。",
            "It is only a small thing. = 只是小事。",
            "We have another one. = 我們還有另一個。",
            "Just so that you know. = 只是讓你知道。",
        ),
    ),
)

NAMES = listed(
    """
    Ada Alan Anna Ben Carla Chen Clara Dan Elena Emma Erik Eva Felix Frank Grace Hana Hugo Ian Iris
    Ivan Jack Julia Kai Kim Laura Leo Lin Maria Mark Mei Nina Noah Omar Paul Rita Sam Sara Tom Victor
    Zoe
    """
)

SURNAMES = tuple("陳林黃張李王吳劉")
GIVEN_NAMES = listed(
    "小明 美玲 志偉 淑芬 家豪 怡君 雅婷 俊傑 建宏 心怡 冠宇 詩涵 承恩 宇軒 明哲 文華"
)

SEPARATORS = {"commas": ", ", "slashes": " / ", "dashes": " - ", "bars": " | "}
