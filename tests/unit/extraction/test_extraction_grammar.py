"""Does a grammar allow every right answer, and nothing that could not be read?"""

import random

import pytest

from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import Asking, write_answer
from hanlin.extraction.grammar import FORMS, grammar_for, has_grammar
from hanlin.extraction.schema import Schema

llguidance = pytest.importorskip("llguidance")
BYTES = llguidance.LLTokenizer("byte")
HARD = '王，明；在=青"石\\镇：\n\t１Ａ，🙂 Ab,c'  # every mark that a form escapes


def matcher(question, form, text):
    grammar = grammar_for(question, form, text=text)
    assert grammar.kind == "lark"
    made = llguidance.LLMatcher(BYTES, grammar.text)
    assert not made.get_error(), made.get_error()
    return made


def allows(question, form, answer, text=None):
    made = matcher(question, form, text)
    ids = BYTES.tokenize_str(answer)
    return made.try_consume_tokens(ids) == len(ids) and made.is_accepting()


def asked(form, schema, example, **asking):
    return FORMATS.get(form).ask(example.text, schema, Asking(gold=example, **asking))


KG = Schema(language="zh", attributes={"公司": ["成立时间"], "船舶": []})
EVENT = Schema(language="zh", events={"夺冠": {"roles": ["冠军", "赛事"], "trigger": False}})


@pytest.mark.parametrize("form", FORMS)
def test_right_answers_are_allowed_also_when_names_must_stand_in_the_text(form, zh, example):
    for question in asked(form, zh, example):
        answer = write_answer(FORMATS.get(form), example, question)
        assert allows(question, form, answer)
        assert allows(question, form, answer, example.text)
        assert not allows(question, form, answer, "李雪在家。")
        assert not allows(question, form, answer.replace("人物", "河流").replace("成立", "破产")
                          .replace("出生地", "死地"))  # fmt: skip
        empty = write_answer(FORMATS.get(form), Extraction("2", example.text, "zh"), question)
        assert allows(question, form, empty, example.text)


@pytest.mark.parametrize("text", [None, HARD])
@pytest.mark.parametrize("form", FORMS)
def test_whatever_is_allowed_can_be_read(form, text, zh, example):
    """Walk the grammar at random until it ends: no part of the answer is unreadable."""
    rng = random.Random(0)
    ended = 0
    for schema in (zh, KG, EVENT):
        for question in asked(form, schema, example):
            for _ in range(6):
                answer = walk(matcher(question, form, text), rng)
                if answer is None:
                    continue
                ended += 1
                parsed = FORMATS.get(form).read(answer, question)
                assert parsed.unread == (), answer
                names = [name for _, name in parsed.entities]
                names += [name for r in parsed.relations for name in (r.head, r.tail)]
                names += [n for e in parsed.events for _, n in e.arguments]
                if text:
                    assert all(name.strip() in text for name in names), (answer, names)
    assert ended > 10


def walk(made, rng, limit=1500):
    """Bytes of a random text of the grammar; prefers to come to an end, None where it does not."""
    found = bytearray()
    for _ in range(limit):
        if made.is_accepting() and (made.is_stopped() or rng.random() < 0.5):
            return found.decode("utf-8")
        mask = made.compute_logit_bias()
        choice = [token for token in range(256) if mask[token]]
        closing = [token for token in choice if chr(token) in '"]}']
        token = rng.choice(closing if closing and rng.random() < 0.3 else choice)
        assert made.consume_token(token)
        found.append(token)
    return None


def test_a_form_without_a_grammar_says_so(zh, example):
    assert has_grammar("lines") and not has_grammar("deepke-0")
    (question, *_) = asked("deepke-0", zh, example)
    with pytest.raises(ValueError, match="no grammar for 'deepke-0'; there is for lines, json"):
        grammar_for(question, "deepke-0")
