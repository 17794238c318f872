"""The parts of a fact that cannot be put in other words: times, telephone numbers, addresses and other numbers."""

from __future__ import annotations

import re
import unicodedata

Details = dict[str, list[str]]

_ADDRESS = re.compile(r"[a-z0-9.+_-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+|https?://[^\s,，。；;、）)]+")
_PHONE = re.compile(r"\+?\d(?:[\- ()]{0,2}\d){6,}")
_LATE, _NOON = "下午|晚上|晚间|傍晚|夜里|晚|pm", "中午"
_TIME = re.compile(
    rf"(?P<part>{_LATE}|{_NOON}|早上|上午|早晨|清晨|凌晨|早)?\s*(?<!\d)(?P<hour>\d{{1,2}})"
    r"(?::(?P<minute>\d{2})(?!\d)|\s*[点點时時](?![间間])(?:(?P<half>半)|(?P<quarter>[一三])刻|(?P<spoken>\d{1,2})分?)?|(?=\s*[ap]\.?m\b))"
    r"(?:\s*(?P<english>[ap])\.?m\b)?"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LISTED = re.compile(r"^\s*\d{1,2}[.)、]\s*(?=\D)", re.MULTILINE)

# Chinese numerals are read where a unit follows; 一个 and the like are no number, nor is the day in 周六.
_UNIT = r"[点點时時分天日个個元块塊折年月周号號楼樓岁歲%人件次秒米]|小时|小時|星期|公里"
_NUMERAL = re.compile(rf"(?<![周期拜])(?!一[个個次件下](?!月))[零〇一二两兩三四五六七八九十百千万]+(?=\s*(?:{_UNIT}))")
_DIGITS = {numeral: value for value, numeral in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_POWERS = {"十": 10, "百": 100, "千": 1000}


def details_in(text: str, near: Details | None = None) -> Details:
    """The details of a text by kind: "address", "phone", "time" (as 21:30) and "number", each once, in order.

    Args:
        near: the details of another text; an hour that may be before or after noon is read as it stands there.

    >>> details_in("每天九点到晚上 9:30，电话 0571-5550-0136")
    {'address': [], 'phone': ['057155500136'], 'time': ['9:00', '21:30'], 'number': []}
    """
    rest = _NUMERAL.sub(lambda found: str(_value(found[0])), unicodedata.normalize("NFKC", text).casefold())
    rest = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", _LISTED.sub("", re.sub("[–—−]", "-", rest)))
    # 9-21点 and "9 to 5 pm" tell two times.
    rest = re.sub(r"(?<![\d:\-])(\d{1,2})\s*(?=(?:-|~|到|至)\s*\d{1,2}\s*[点點时時](?![间間]))", r"\1点", rest)
    rest = re.sub(r"(?<![\d:\-])(\d{1,2})\s*(?=(?:-|to)\s*\d{1,2}(?::\d\d)?\s*pm\b)", r"\1:00 ", rest)
    addresses, rest = _taken(_ADDRESS, rest)
    phones, rest = _taken(_PHONE, rest)
    known = near["time"] if near else []
    times = [_clock(found, known) for found in _TIME.finditer(rest)]
    numbers = _NUMBER.findall(_TIME.sub(" ", rest))
    found = {"address": addresses, "phone": [re.sub(r"\D", "", phone) for phone in phones]}
    return {kind: list(dict.fromkeys(said)) for kind, said in (found | {"time": times, "number": numbers}).items()}


def _taken(pattern: re.Pattern[str], text: str) -> tuple[list[str], str]:
    return pattern.findall(text), pattern.sub(" ", text)


def _clock(found: re.Match[str], known: list[str]) -> str:
    hour = int(found["hour"])
    minute = 30 if found["half"] else 15 * int({"一": 1, "三": 3}.get(found["quarter"] or "", 0))
    minute = int(found["minute"] or found["spoken"] or minute)
    late = found["english"] == "p" or found["part"] in _LATE.split("|") or (found["part"] == _NOON and hour < 11)
    if late and hour < 12:
        hour += 12
    unmarked = not (late or found["english"] or found["part"])
    if unmarked and f"{hour}:{minute:02}" not in known and f"{hour + 12}:{minute:02}" in known:
        hour += 12
    return f"{hour}:{minute:02}"


def _value(numeral: str) -> int:
    """The number that a Chinese numeral writes: 二十三 is 23, and 二三, digit by digit, too."""
    if not re.search("[十百千万]", numeral):
        return int("".join(str(_DIGITS[digit]) for digit in numeral))
    total = part = digit = 0
    for character in numeral:
        if character == "万":
            total, part, digit = (total + part + digit) * 10_000, 0, 0
        elif character in _POWERS:
            part, digit = part + (digit or 1) * _POWERS[character], 0
        else:
            digit = _DIGITS[character]
    return total + part + digit
