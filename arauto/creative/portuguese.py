"""The gender and number of Portuguese nouns, so that articles agree with a product's name.

Rules by ending, with lists of exceptions. Where they are not sure (a brand, a foreign word, an ending of both genders)
the answer is None, and the slot writer takes sentences that need no article: grammatical for any name.
"""

from __future__ import annotations

import itertools
import re
from typing import Literal, NamedTuple

from arauto.creative.words import listed

Gender = Literal["m", "f"]


class Noun(NamedTuple):
    """Gender and number of the head of a name."""

    gender: Gender
    plural: bool = False

    @property
    def article(self) -> str:
        return ("a" if self.gender == "f" else "o") + ("s" if self.plural else "")


_INVARIANT = listed("tênis ônibus lápis vírus atlas pires campus")
_PLURAL_ONLY: dict[str, Gender] = {"óculos": "m", "férias": "f"}
_MASCULINE = listed(
    "programa sistema aroma tema cinema clima diploma mapa pijama panorama poema idioma planeta drama problema dia"
    " trauma guarda-roupa guarda-chuva guarda-sol quebra-cabeça leite creme perfume sabonete chocolate tapete capacete"
    " fone telefone smartphone drone pente bronze doce peixe colete molde gel software notebook ebook e-book app"
    " podcast smartwatch tablet kit site blog shampoo mouse headset game videogame streaming skate patinete mate"
    " iogurte sorvete azeite vale cofre alicate desodorante detergente hidratante fertilizante espumante spray"
    " check-up delivery workshop webinar café bebê purê crochê celular colar lar bar radar par altar bazar jantar"
    " freezer mixer cooler trailer container pôster talher elixir zíper arroz verniz giz capuz cartaz calção coração"
    " pulmão artesão avião caminhão gavião espião pião álbum ímã galã divã sutiã chalé filé picolé pé buquê protetor"
    " pé-de-moleque restaurante aparelho carregador sabor calor amor motor humor valor vapor interior exterior"
    " conforto ambiente horizonte instante pacote convite acessório estilo"
)
_FEMININE = listed(
    "moto foto bike tribo mão razão luz cruz voz paz raiz matriz nuvem air tv webcam newsletter startup live playlist"
    " lingerie legging base estante chave rede ponte torre arte mente carne sede tarde noite fonte lente corrente"
    " semente flor cor dor colher mulher cal vodca noz pele saúde fé maré boutique landing internet sobremesa couve"
    " gripe vitrine cabine lã maçã avelã manhã romã hortelã equipe airfryer air-fryer hospedagem parte gente frente"
    " face classe fase base frase"
)
_BOTH = listed(
    "atleta colega guia cara modelo personal camarada belga poeta rádio capital moral caixa cabeça solo final real"
    " total mais menos qual quais tal cada mesma mesmo outra outro que contra meia alerta pessoa vítima para era entre"
    " sobre"
)
_PREFIXES = listed("mini super smart novo nova mega")

_ENDINGS: tuple[tuple[str, Gender], ...] = (
    ("chão", "m"),
    ("ção", "f"),
    ("são", "f"),
    ("ião", "f"),
    ("xão", "f"),
    ("stão", "f"),
    ("idão", "f"),
    ("ão", "m"),
    ("dade", "f"),
    ("tude", "f"),
    ("gem", "f"),
    ("ice", "f"),
    ("ete", "m"),
    ("ote", "m"),
    ("ume", "m"),
    ("ame", "m"),
    ("ador", "m"),
    ("edor", "m"),
    ("idor", "m"),
    ("á", "m"),
    ("a", "f"),
    ("o", "m"),
)
_HEAD_ENDINGS: tuple[tuple[str, Gender], ...] = (
    ("tor", "m"),
    ("sor", "m"),
    ("al", "m"),
    ("el", "m"),
    ("il", "m"),
    ("ol", "m"),
    ("ul", "m"),
    ("im", "m"),
    ("om", "m"),
    ("um", "m"),
    ("ê", "m"),
    ("é", "m"),
    ("ô", "m"),
    ("u", "m"),
    ("i", "m"),
)
"""Sure for the head of a product's name; within a sentence they are adjectives of both genders as often."""

_SINGULARS = (
    ("ões", "ão"),
    ("ães", "ão"),
    ("ais", "al"),
    ("éis", "el"),
    ("óis", "ol"),
    ("ns", "m"),
    ("res", "r"),
    ("zes", "z"),
)


def noun_of(product: str) -> Noun | None:
    """The gender and number of ``product``'s head, or None when they cannot be told for sure."""
    raw = _head(product)
    word = raw.lower()
    known = _look_up(word)
    # A capital or a digit marks a name of its own, whose gender no rule knows.
    if known or raw[:1].isupper() or re.search(r"\d", raw):
        return known
    return _by_ending(word, (*_ENDINGS, *_HEAD_ENDINGS))


def forms_of(noun: Noun) -> dict[str, str]:
    """The words that agree with ``noun``, by the names that templates use: ``o``, ``um``, ``no``, ``seu``, ``Seu``…"""
    article = noun.article
    feminine, plural = noun.gender == "f", "s" if noun.plural else ""
    one = "uma" if feminine else "um"
    forms = {
        "o": article,
        "um": one if not noun.plural else "umas" if feminine else "uns",
        "do": f"d{article}",
        "no": f"n{article}",
        "seu": ("sua" if feminine else "seu") + plural,
    }
    return {**forms, **{name.capitalize(): form.capitalize() for name, form in forms.items()}}


_DETERMINERS: dict[Gender, frozenset[str]] = {
    "m": listed("um uns do dos no nos ao aos pelo pelos seu seus meu meus nosso nossos este estes esse esses"),
    "f": listed("uma umas da das na nas à às pela pelas sua suas minha minhas nossa nossas esta estas essa essas"),
}
_ARTICLES: dict[Gender, frozenset[str]] = {"m": listed("o os"), "f": listed("a as")}


def disagreement(text: str, product: str) -> str:
    """The first determiner of ``text`` that has another gender than its noun, with that noun; empty when all agree.

    "o" and "a" are judged only before the product itself: elsewhere they are pronouns and prepositions too.
    """
    head = _head(product).lower()
    tokens = re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*|[^\w\s]", text)
    for determiner, word in itertools.pairwise(tokens):
        noun = noun_of(product) if word.lower() == head else _sure(word)
        if noun is None:
            continue
        other: Gender = "f" if noun.gender == "m" else "m"
        wrong = _DETERMINERS[other] | (_ARTICLES[other] if word.lower() == head else frozenset())
        if determiner.lower() in wrong:
            return f"{determiner} {word}"
    return ""


def _sure(word: str) -> Noun | None:
    """The gender of any noun of a sentence, by the surest rules only."""
    if word[:1].isupper() or word in _BOTH or word.endswith(("ista", "istas")) or len(word) < 4:
        return None
    return _look_up(word) or _by_ending(word, _ENDINGS)


def _head(product: str) -> str:
    found = [raw.strip("\"“”'’(),") for raw in product.split()]
    return next((word for word in found if word.lower() not in _PREFIXES), "")


def _look_up(word: str) -> Noun | None:
    if word in _INVARIANT:
        return Noun("m")
    if word in _PLURAL_ONLY:
        return Noun(_PLURAL_ONLY[word], plural=True)
    for singular, plural in ((word, False), *((form, True) for form in _singulars(word))):
        if singular in _MASCULINE:
            return Noun("m", plural)
        if singular in _FEMININE:
            return Noun("f", plural)
    return None


def _singulars(word: str) -> list[str]:
    forms = [word.removesuffix(plural) + singular for plural, singular in _SINGULARS if word.endswith(plural)]
    return [*forms, word[:-1]] if word.endswith("s") and len(word) > 3 else forms


def _by_ending(word: str, endings: tuple[tuple[str, Gender], ...]) -> Noun | None:
    forms = _singulars(word)
    singular = forms[0] if forms else word
    # Words such as "aprender" or "shoes" end in nothing of the list: they stay unknown.
    for ending, gender in endings:
        if len(singular) > len(ending) + 1 and singular.endswith(ending):
            return Noun(gender, plural=bool(forms))
    return None
