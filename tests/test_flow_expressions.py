"""Conditions: they say what they mean, reach nothing but variables, and never fail a conversation."""

import builtins
import operator
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.flows.expressions import MAX_CHARS, MAX_LEVELS, Expression, look_up

VARIABLES: dict[str, object] = {
    "nombre": "José Ñáñez",
    "ciudad": "Bogotá",
    "total": "1234.50",  # as a decimal answer is kept
    "personas": 4,
    "descuento": 0.1,
    "socio": True,
    "nuevo": False,
    "vacio": "  ",
    "nada": None,
    "cero": 0,
    "correo": "jose@example.com",
    "fecha": "2026-12-31",
    "sabores": ["Fresa", "Limón", 3],
    "pedido": {"envio": {"ciudad": "Lima"}, "total": 99},
    "año": 2026,
}


@pytest.mark.parametrize(
    "text",
    [
        "ciudad = 'bogota'",
        "ciudad == 'BOGOTÁ'",
        'ciudad != "Lima"',
        "nombre == 'jose nanez'",
        "total > 1000",
        "total = 1234.5",
        "total < '2000'",
        "personas >= 4 and personas <= 4",
        "personas == '4'",
        "descuento == 0.1",
        "descuento == '0.10'",
        "-5 < personas",
        "fecha > '2026-02-28'",
        "socio",
        "socio == sí",
        "socio = SI",
        "socio == true",
        "nuevo == no",
        "nuevo == no y socio",
        "nuevo == false",
        "no nuevo",
        "not not socio",
        "no no no nuevo",
        "nada == null",
        "falta == null",
        "pedido.falta.mas == null",
        "nombre.falta == null",
        "personas != null",
        "vacio is empty",
        "nada is empty",
        "falta is empty",
        "ciudad is not empty",
        "ciudad is no empty",
        "cero is not empty",
        "no falta is not empty",
        "ciudad in ['Lima', 'bogotá']",
        "ciudad not in ['Lima']",
        "ciudad no in []",
        "personas in [1, '4']",
        "socio in [no, sí]",
        "nada in [null]",
        "'limon' in sabores",
        "3 in sabores",
        "sabores contains 'FRESA'",
        "not sabores contains 'Vainilla'",
        "correo contains '@'",
        "correo contains '@EXAMPLE.com'",
        "ciudad contains 'GOTA'",
        "'gota' in ciudad",
        "pedido.envio.ciudad == 'lima'",
        "pedido.total < total",
        "año == 2026",
        "nuevo or socio and personas",  # and binds tighter
        "socio o nuevo y nuevo",
        "(socio o nuevo) y no nuevo",
        "((personas)) > ((3))",
        "(personas > 3) == sí",
        "SOCIO_FALTA = null AND Not nuevo",
        "personas>3 and(total)>3",
        "  socio  ",
    ],
)
def test_a_condition_that_holds(text: str) -> None:
    assert Expression(text).holds(VARIABLES)


@pytest.mark.parametrize(
    "text",
    [
        "ciudad == 'Lima'",
        "nuevo",
        "nada",
        "falta",
        "vacio",
        "cero",
        "no socio",
        "not not nuevo",
        "nada < 5",
        "nada >= null",
        "5 > falta",
        "nada == 0",
        "nada == ''",
        "nuevo == 0",
        "socio == 1",
        "socio == 'sí'",
        "socio > 0",
        "ciudad < 5",
        "5 <= ciudad",
        "ciudad == 5",
        "sabores == sabores",
        "sabores < sabores",
        "pedido == pedido",
        "total < '9'",  # as numbers, not as texts
        "ciudad in []",
        "ciudad in falta",
        "ciudad in pedido",
        "personas contains 4",
        "pedido contains 'total'",
        "falta contains ''",
        "correo contains '#'",
        "(nuevo or socio) and nuevo",
        "cero is empty",
        "nuevo is empty",
    ],
)
def test_a_condition_that_does_not_hold(text: str) -> None:
    assert not Expression(text).holds(VARIABLES)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("total >", "character 8: expected a variable.*condition ends"),
        ("> 5", "character 1: expected a variable.*not >"),
        ("total 5", "character 7: expected and, or, or the end, not 5"),
        ("total => 5", "character 8: expected a variable"),
        ("a < b < c", "character 7: compare two values at a time"),
        ("a = b = c", "compare two values"),
        ("(a or b", r"character 8: expected \), but"),
        ("a or b)", r"character 7: expected and, or.*not \)"),
        ("a and or b", "character 7"),
        ("a and", "condition ends"),
        ("no", "condition ends"),
        ("nombre == 'José", "character 11: .*no closing quote"),
        ('nombre == "José', "no closing quote"),
        ("nombre == “José”", "character 11: '“' is no part.*quotes"),
        ("a in [1, 2", r"expected \]"),
        ("a in [1 2]", r"expected \]"),
        ("a in [1,]", "expected a variable"),
        ("a in [[1]]", "expected a variable"),
        ("a in ['x', (b)]", "expected a variable"),
        ("[1] contains a", "expected a variable"),
        ("a == [1]", "expected a variable"),
        ("a is 5", "expected empty"),
        ("a is", "expected empty"),
        ("a not 5", "expected in"),
        ("a == not b", "expected a variable"),
        ("1.5.2 = a", "character 1: not a number"),
        ("5a = 1", "not a number"),
        ("a = 1,5", "expected and, or"),
        ("a.b. = 1", "'.' is no part"),
        ("a..b", "no part"),
        (".a", "no part"),
        ("a + 1", r"'\+' is no part"),
        ("a && b", "'&' is no part"),
        ("a; b", "no part"),
        ("f(x)", r"character 2: expected and, or.*not \("),
        ("a.b()", "expected and"),
        ("a[0]", r"expected and.*not \["),
        ("a.0", "no part"),
        ("lambda: 1", "no part"),
        ("y", "expected a variable"),
        ("empty", "expected a variable"),
        ("(" * (MAX_LEVELS + 1) + "a" + ")" * (MAX_LEVELS + 1), "at most 50 parentheses"),
        ("a" * (MAX_CHARS + 1), "1001 characters"),
    ],
)
def test_what_is_no_condition_says_where_and_why(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Expression(text)


def test_the_names_of_a_condition_are_told_without_its_words_and_texts() -> None:
    assert Expression("pedido.total > 5 and (x o x) and 'city' in [y1, sí, null]").names == {"pedido.total", "x", "y1"}


@pytest.mark.parametrize(
    "text",
    [
        "nombre.__class__",
        "nombre.__class__.__mro__ is not empty",
        "pedido.keys",
        "pedido.items is not empty",
        "sabores.append is not empty",
        "__builtins__",
        "__import__",
        "self",
        "object.__subclasses__ is not empty",
        *(f"{name} is not empty" for name in dir(builtins) if name.isidentifier() and name not in ("True", "False")),
    ],
)
def test_nothing_of_python_can_be_reached(text: str) -> None:
    try:
        condition = Expression(text)
    except ValueError:
        return
    assert not condition.holds(VARIABLES)


def test_a_mapping_that_is_an_object_gives_its_keys_and_not_its_attributes() -> None:
    class Order(dict[str, object]):
        secret = "hidden"

    assert look_up({"order": Order(total=5)}, "order.total") == 5
    assert look_up({"order": Order(total=5)}, "order.secret") is None


def test_fifty_levels_and_hundreds_of_parts_are_read() -> None:
    assert Expression("(" * MAX_LEVELS + "a" + ")" * MAX_LEVELS).holds({"a": 1})
    assert Expression(" or ".join(["(a)"] * (MAX_LEVELS + 1))).holds({"a": 1})
    assert Expression("a" + " or a" * 199).holds({"a": 1})
    assert Expression(" y ".join(["no(" * 24 + "a" + ")" * 24] * 2)).holds({"a": 1})
    assert Expression(f"a in [{','.join('9' * 490)}]").holds({"a": 9})


def test_hundreds_of_negations_need_no_deep_stack() -> None:
    condition = Expression("not " * 249 + "a")

    def below(levels: int) -> bool:
        return below(levels - 1) if levels else condition.holds({})

    assert below(600)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_neither_equal_nor_ordered(number: float) -> None:
    assert not Expression("a == a or a < 1 or a > 1").holds({"a": number})


def test_a_folded_variable_is_folded_once_a_condition() -> None:
    """The longest condition over a long answer takes a time that nobody notices."""
    took_s = []
    for condition in (Expression("a = 'b'"), Expression(" or ".join(["a = 'b'"] * 80))):
        rounds = []
        for _ in range(5):
            begun = time.process_time()
            assert not condition.holds({"a": "á" * 100_000})
            rounds.append(time.process_time() - begun)
        took_s.append(min(rounds))
    assert took_s[1] < 20 * took_s[0]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["5", "-0.0", "sí", "", "10"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=6,
)
some_variables = st.dictionaries(st.sampled_from(["a", "b", "c", "año"]), json_values)
PIECES = (
    "a b c año a.b a.b.c 5 -1.5 'x' \"5\" '' and or not no y o in contains is empty true sí null = == != < <= > >= "
    "( ) [ ] , ' \" . - + {"
)
likely_texts = st.lists(st.sampled_from(PIECES.split()), max_size=12).map(" ".join)


@given(likely_texts | st.text(max_size=60), some_variables)
def test_any_text_is_a_condition_or_a_value_error_and_never_fails_later(
    text: str, variables: dict[str, object]
) -> None:
    try:
        condition = Expression(text)
    except ValueError:
        return
    assert condition.holds(variables) in (True, False)


def test_lists_within_lists_without_end_do_not_break_it() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert not Expression("a == b or a < b or a contains b or a in b or a is empty").holds({"a": deep, "b": deep})


# Against a reference that works on trees of numbers and short words, where folding has nothing to do.

ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
leaves = st.sampled_from([("name", name) for name in ("a", "b", "c")]) | st.sampled_from(
    [("value", value) for value in (None, True, False, 0, 1, 2, 10, "", "x", "xy")]
)
trees: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: (
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4))
        | st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(["==", "!=", *ORDERS, "contains"]), inner, inner)
        | st.tuples(st.just("empty"), inner)
        | st.tuples(st.just("among"), inner, st.lists(leaves, max_size=3))
    ),
    max_leaves=15,
)


def written(tree: Any) -> str:
    """The tree as an owner would write it, with parentheses around everything that is not a leaf."""
    match tree:
        case ("name", name):
            return str(name)
        case ("value", value):
            words = {None: "null", True: "true", False: "false"}
            return words[value] if value is None or isinstance(value, bool) else repr(value)
        case ("and" | "or" as word, parts):
            return "(" + f" {word} ".join(map(written, parts)) + ")"
        case ("not", part):
            return f"(not {written(part)})"
        case ("empty", part):
            return f"({written(part)} is empty)"
        case ("among", part, items):
            return f"({written(part)} in [{', '.join(map(written, items))}])"
    return f"({written(tree[1])} {tree[0]} {written(tree[2])})"


def reference(tree: Any, variables: dict[str, object]) -> Any:
    def value(part: Any) -> Any:
        return reference(part, variables)

    match tree:
        case ("name", name):
            return variables.get(name)
        case ("value", value_):
            return value_
        case ("and", parts):
            return all(bool(value(part)) for part in parts)
        case ("or", parts):
            return any(bool(value(part)) for part in parts)
        case ("not", part):
            return not value(part)
        case ("empty", part):
            return value(part) in (None, "") and value(part) is not False
        case ("among", part, items):
            return any(same(value(part), value(item)) for item in items)
        case ("==", one, other):
            return same(value(one), value(other))
        case ("!=", one, other):
            return not same(value(one), value(other))
        case ("contains", one, other):
            texts = isinstance(value(one), str) and isinstance(value(other), str)
            return texts and value(other) in value(one)
    one, other = value(tree[1]), value(tree[2])
    return type(one) is type(other) and type(one) in (int, str) and ORDERS[tree[0]](one, other)


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


@given(trees, st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, True, False, 0, 1, 10, "", "x", "y"])))
def test_a_condition_means_what_the_reference_says(tree: Any, variables: dict[str, object]) -> None:
    text = written(tree)
    if len(text) <= MAX_CHARS:
        assert Expression(text).holds(variables) is bool(reference(tree, variables)), text
