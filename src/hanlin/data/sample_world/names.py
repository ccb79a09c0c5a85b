"""How things are called: invented names in both languages, and the everyday words used as values.

Each name has characters (or syllables) of its own as long as the lists last, so that a tokenizer
trained on the texts learns names as pieces instead of gluing a name's end to the next word.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

Names = Mapping[str, tuple[str, ...]]

SURNAMES = (
    "李王张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡"
    "贾丁魏薛"
)
GIVEN = (
    "明丽强芳伟静磊洋艳勇娟涛超秀霞刚桂英博雅晨阳雪梅兰志文俊杰思琪浩宇欣怡子涵嘉豪诗婷泽楷"
    "美玲国栋淑珍建军佳慧鹏飞晓燕振华玉莲海波春生宝德成功光辉红卫家兴立新少安世昌守义天佑维正"
    "先达学勤永康友仁云鹤忠诚竹君凯旋若曦书瑶彦霖翰墨景瑞沛然锦绣惠民仲秋逸凡承志启航"
)
ANIMALS = (
    "虎豹狼鹿猫狗兔猴象熊鼠鸭鹅鸽鹰蜂蝶蚁龟虾蟹鲤鲸鲨狐獾骆驼驴骡羊鸡雀燕鹊蝉蛙蛇蜗蛛雁鸦枣桃"
    "杏梨李橘柚栗莓瓜豆麦"
)
PLACES = (
    "青石白云金沙龙泉谷源溪原凤凰柳荫枫桥槐阳银杏古塔长亭落霞碧潭清风铁岭黑松寒窑赤壁紫藤望月"
    "双井九曲平湖星野"
)
WATERS = "澜沧渭湘汾淮漓岷洛颍沅澧浔淇沁泾滦潞濮汨"
TRADES = "宏远恒丰隆盛顺昌祥瑞鼎泰裕民广源聚福大通永利兴业万和信义协力同辉巨鑫"
BOOKS = "夜航孤灯深巷迷雾残阳荒岛断桥空山冷月碎玉浮萍飘蓬旧梦归途暗潮野渡秋声蓝窗沉钟断弦"
FAIRS = "春灯花船采莲赛马风筝丰收冬雪放鹰登高踏歌斗茶焰火"

ONSETS = tuple("BDFGHKLMNPRSTVZ")
CLUSTERS = ("Br", "Dr", "Gl", "Kr", "Pl", "St", "Tr")
BOOK_ADJECTIVES = "Pale Silent Broken Golden Hidden Distant Lost Burning"
BOOK_NOUNS = "Lantern Harbor Bridge Island Window Garden Mirror Forest"

VOWELS = "aeiou"
CODAS = (*"lmnrstk", "nd", "rn", "lt", "sk", "mp")

WORDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "profession": (
        ("画家", "painter"), ("铁匠", "blacksmith"), ("教师", "teacher"), ("船长", "captain"),
        ("医生", "doctor"), ("诗人", "poet"), ("木匠", "carpenter"), ("商人", "merchant"),
        ("农夫", "farmer"), ("乐师", "musician"), ("渔夫", "fisher"), ("律师", "lawyer"),
        ("厨师", "cook"), ("裁缝", "tailor"), ("猎人", "hunter"), ("园丁", "gardener"),
        ("石匠", "mason"), ("陶工", "potter"), ("邮差", "courier"), ("护士", "nurse"),
    ),
    "food": (
        ("面条", "noodles"), ("饺子", "dumplings"), ("米饭", "rice"), ("豆腐", "tofu"),
        ("烤鸭", "roast duck"), ("鱼汤", "fish soup"), ("馒头", "buns"), ("粽子", "rice cakes"),
        ("月饼", "mooncakes"), ("火锅", "hotpot"), ("煎饼", "pancakes"), ("蛋糕", "cake"),
        ("苹果", "apples"), ("西瓜", "melons"), ("蘑菇", "mushrooms"), ("奶酪", "cheese"),
        ("花生", "peanuts"), ("蜂蜜", "honey"), ("牛排", "steak"), ("葡萄", "grapes"),
    ),
    "product": (
        ("茶叶", "tea"), ("丝绸", "silk"), ("瓷器", "porcelain"), ("钟表", "clocks"),
        ("纸张", "paper"), ("玻璃", "glass"), ("毛毯", "blankets"), ("木船", "boats"),
        ("铜壶", "kettles"), ("香料", "spices"), ("药材", "herbs"), ("海盐", "salt"),
        ("蜡烛", "candles"), ("皮鞋", "shoes"), ("家具", "furniture"), ("帽子", "hats"),
        ("肥皂", "soap"), ("刀具", "knives"), ("笛子", "flutes"), ("地图", "maps"),
        ("雨伞", "umbrellas"), ("绳索", "ropes"), ("珍珠", "pearls"), ("墨水", "ink"),
    ),
    "subject": (
        ("航海", "sailing"), ("天文", "astronomy"), ("农业", "farming"), ("战争", "war"),
        ("爱情", "love"), ("音乐", "music"), ("建筑", "building"), ("医学", "medicine"),
        ("旅行", "travel"), ("历史", "history"), ("数学", "mathematics"), ("烹饪", "cooking"),
    ),
    "water": (
        ("镜湖", "Mirror Lake"), ("雾海", "Mist Sea"), ("盐湖", "Salt Lake"),
        ("金湾", "Golden Bay"), ("北海", "North Sea"), ("月湖", "Moon Lake"),
        ("鲸湾", "Whale Bay"), ("暖洋", "Warm Ocean"),
    ),
}  # fmt: skip

Maker = Callable[["_Source"], str]


class _Source:
    """Deals characters and syllables, each once before any comes up again; no name twice."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.decks: dict[str, list[str]] = {}
        self.used: set[str] = set()

    def take(self, characters: str, count: int = 1) -> str:
        """Return `count` different characters."""
        unique = list(dict.fromkeys(characters))
        taken = ""
        while len(taken) < count:
            deck = self.decks.setdefault(characters, [])
            if not deck:
                deck += self.rng.sample(unique, len(unique))
            character = deck.pop()
            if character not in taken:
                taken += character
        return taken

    def word(self, endings: str = "") -> str:
        """Return an invented English word of two syllables."""
        pick = self.rng.choice
        first = pick(ONSETS + CLUSTERS) + pick(VOWELS)
        if endings:
            return first + pick(CODAS) + pick(endings.split())
        return first + pick(ONSETS).lower() + pick(VOWELS)

    def short(self) -> str:
        """Return an invented English word of one syllable."""
        pick = self.rng.choice
        return pick(ONSETS + CLUSTERS) + pick(VOWELS) + pick(CODAS)

    def fresh(self, maker: Maker) -> str:
        """Return a name that was not given before."""
        while (name := maker(self)) in self.used:
            pass
        self.used.add(name)
        return name

    def choice(self, words: str) -> str:
        """Return one of some words."""
        return self.rng.choice(words.split())


# kind -> language -> (how a main name is made, how an alias is made)
MAKERS: Mapping[str, Mapping[str, tuple[Maker, Maker]]] = {
    "person": {
        "zh": (
            lambda s: s.take(SURNAMES) + s.take(GIVEN, 2),
            lambda s: s.choice("阿 小 大 老") + s.take(ANIMALS),
        ),
        "en": (lambda s: f"{s.word()} {s.short()}", lambda s: f"Old {s.short()}"),
    },
    "town": {
        "zh": (
            lambda s: s.take(PLACES, 2) + s.choice("镇 城 村 港"),
            lambda s: s.take(PLACES) + s.choice("都 乡 堡"),
        ),
        "en": (lambda s: s.word("ford mouth wick stead by"), lambda s: f"{s.word()} Town"),
    },
    "river": {
        "zh": (
            lambda s: s.take(WATERS) + s.choice("江 河"),
            lambda s: s.choice("银 玉 黑 白 长 母") + s.take(WATERS),
        ),
        "en": (lambda s: f"{s.word()} River", lambda s: f"{s.word()} Stream"),
    },
    "company": {
        "zh": (
            lambda s: s.take(TRADES, 2) + s.choice("公司 商行 工坊"),
            lambda s: s.take(TRADES, 2) + "号",
        ),
        "en": (
            lambda s: f"{s.short()} {s.choice('Works Trading Company')}",
            lambda s: f"{s.short()} Brothers",
        ),
    },
    "book": {
        "zh": (
            lambda s: s.take(BOOKS, 2) + s.choice("记 录 传 集"),
            lambda s: s.take(BOOKS, 2) + "书",
        ),
        "en": (
            lambda s: f"The {s.choice(BOOK_ADJECTIVES)} {s.choice(BOOK_NOUNS)}",
            lambda s: f"The {s.short()} Book",
        ),
    },
    "festival": {
        "zh": (
            lambda s: s.take(FAIRS, 2) + s.choice("节 会 赛"),
            lambda s: s.take(FAIRS, 2) + "庆",
        ),
        "en": (
            lambda s: f"{s.short()} {s.choice('Festival Fair Regatta')}",
            lambda s: f"{s.short()} Days",
        ),
    },
}


def invent(kind: str, count: int, rng: random.Random) -> list[Names]:
    """Return main name and one or two aliases in each language, none given twice."""
    invented: dict[str, list[tuple[str, ...]]] = {}
    for language, (main, alias) in MAKERS[kind].items():
        source = _Source(rng)
        mains = [source.fresh(main) for _ in range(count)]
        invented[language] = [
            (name, *(source.fresh(alias) for _ in range(2 if rng.random() < 0.2 else 1)))
            for name in mains
        ]
    return [
        {language: invented[language][index] for language in invented} for index in range(count)
    ]
