"""Tests of emotion names, aliases and code tables."""

import pytest

from mien.errors import UsageError
from mien.labels import (
    AFFECTNET_CODES,
    EMOTIONS,
    FER2013_CODES,
    FERPLUS_VOTE_COLUMNS,
    canonical,
    find_alias,
    find_code,
    read_codes,
)


def test_emotions_keep_their_order() -> None:
    assert EMOTIONS == (
        "neutral",
        "happiness",
        "sadness",
        "surprise",
        "fear",
        "disgust",
        "anger",
        "contempt",
    )


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param(
            AFFECTNET_CODES, {0: "neutral", 1: "happiness", 7: "contempt"}, id="affectnet"
        ),
        pytest.param(FER2013_CODES, {0: "anger", 3: "happiness", 6: "neutral"}, id="fer2013"),
        pytest.param(
            FERPLUS_VOTE_COLUMNS, {0: "neutral", 2: "surprise", 7: "contempt"}, id="ferplus"
        ),
    ],
)
def test_tables_hold_each_emotion_once(table: tuple[str, ...], expected: dict[int, str]) -> None:
    assert {code: table[code] for code in expected} == expected
    assert len(set(table)) == len(table)
    assert set(table) == set(EMOTIONS) - ({"contempt"} if len(table) == 7 else set())


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        *(pytest.param(emotion, emotion, id=f"own-name-{emotion}") for emotion in EMOTIONS),
        pytest.param("happy", "happiness", id="happy"),
        pytest.param("joy", "happiness", id="joy"),
        pytest.param("sad", "sadness", id="sad"),
        pytest.param("surprised", "surprise", id="surprised"),
        pytest.param("suprise", "surprise", id="common-misspelling"),
        pytest.param("fearful", "fear", id="fearful"),
        pytest.param("disgusted", "disgust", id="disgusted"),
        pytest.param("angry", "anger", id="angry"),
        pytest.param("contemptuous", "contempt", id="contemptuous"),
        pytest.param("HAPPY", "happiness", id="capitals"),
        pytest.param("  sad\n", "sadness", id="blanks-around"),
        pytest.param("No_Emotion", "neutral", id="underscore"),
        pytest.param("no-emotion", "neutral", id="hyphen"),
    ],
)
def test_alias(name: str, emotion: str) -> None:
    assert find_alias(name) == emotion
    assert canonical(name) == emotion


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("0", id="number"),
        pytest.param("7", id="number-of-contempt"),
        pytest.param("happiness2", id="with-a-tail"),
        pytest.param("unknown", id="unknown"),
        pytest.param("NF", id="no-face"),
    ],
)
def test_no_alias(name: str) -> None:
    assert find_alias(name) is None
    with pytest.raises(UsageError, match=f"unknown emotion '{name}': expected one of neutral"):
        canonical(name)


@pytest.mark.parametrize(
    ("text", "given", "emotion"),
    [
        pytest.param("fer2013", "0", "anger", id="fer2013"),
        pytest.param("AffectNet", "7", "contempt", id="affectnet"),
        pytest.param("rafdb", "1", "surprise", id="rafdb-counts-from-1"),
        pytest.param("rafdb", "0", None, id="none-of-rafdb"),
        pytest.param("0=anger, 1 = Happy", "1", "happiness", id="own"),
        pytest.param("1=happy", "1.0", "happiness", id="as-spreadsheets-write-it"),
        pytest.param("1=happy", "1.5", None, id="no-whole-number"),
        pytest.param("1=happy", "one", None, id="no-number"),
        pytest.param("1=happy", "inf", None, id="infinite"),
        pytest.param("w\u00fctend=anger", "Wu\u0308tend ", "anger", id="word-as-a-mac-writes-it"),
        pytest.param("sehr_froh=happy", "Sehr froh", "happiness", id="words"),
    ],
)
def test_codes(text: str, given: str, emotion: str | None) -> None:
    assert find_code(given, read_codes(text)) == emotion


@pytest.mark.parametrize(
    "text", ["", "ferplus", "0=anger,0=happy", "=anger", "a=anger,A=happy", "0=anger,"]
)
def test_no_codes(text: str) -> None:
    with pytest.raises(UsageError, match="expected fer2013, rafdb, affectnet, or each number"):
        read_codes(text)


def test_codes_of_no_emotion() -> None:
    with pytest.raises(UsageError, match="unknown emotion 'glee'"):
        read_codes("0=anger,1=glee")
