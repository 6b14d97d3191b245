"""How people ask for an ad, in Brazilian Portuguese and English: the patterns that :mod:`understand` searches with."""

from __future__ import annotations

from typing import NamedTuple

from arauto.core.brief import Language

AD_MONEY = r"(R\$|US\$|(?<!\w)\$|€|£)\s?(\d[\d.,]*\d|\d)"
PROPER_NAME = r"[\"“]?((?:[A-ZÀ-Ý0-9][\w&'’.-]*)(?:\s+(?:[A-ZÀ-Ý0-9][\w&'’-]*|&))*)"
AGES = (
    r"(\d{1,3})(?:\s*(?:anos|years(?:\s+old)?))?\s*(?:a|e|até|and|to|-|–)\s*(\d{1,3})"
    r"(?=\s*(?:anos|years?|year|yo\b|-year))",
    r"\b(?:aged?|ages|between|idade(?:\s+de|\s+entre)?|faixa(?:\s+etária)?(?:\s+de)?)\s*(?:between\s+|from\s+|of\s+)?"
    r"(\d{1,3})\s*(?:a|e|and|to|-|–)\s*(\d{1,3})\b",
)
AGE_FROM = (
    r"(?:acima de|a partir de|mais de|maiores de|over|above|older than)\s+(?:the age of\s+)?(\d{1,3})"
    r"(?=\s*(?:anos|years|[,.;]|$))|\b(\d{2})\s*(?:anos\s+ou\s+mais|\+|or older)"
)
HIGHLIGHTS = ("destac", "destaq", "evidenc", "enfati", "ressalt", "valori", "highlight", "emphas", "featur")
"""Beginnings of the words that present what a picture shows as a merit of the product."""


class Grammar(NamedTuple):
    """The patterns of one language. ``stop`` is where a phrase ends; the others capture in their first group."""

    article: str
    product: tuple[str, ...]
    stop: str
    people: str
    focus: str
    audience: tuple[str, ...]
    tone_of: str
    image: str
    feature: str
    tone: str
    brand: str
    action: str
    labels: dict[str, str]
    discount: str
    deadline: str


_END = r"(?=\s*(?:[,;:!?\n()]|\.(?:\s|$)|$)"  # each language adds its own words, and closes the bracket

_PT_PEOPLE = (
    r"(?:quem|mulheres|homens|pessoas|jovens|adult[oa]s|mães|pais|crianças|idosos|estudantes|alunos|profissionais|público|"
    r"corredor(?:es|as)|ciclistas|atletas|esportistas|empreendedor(?:es|as)|empresas|empresári[oa]s|famílias|iniciantes|"
    r"clientes|consumidor(?:es|as)|gamers|donos|donas|amantes|fãs|casais|professor(?:es|as)|viajantes|trabalhador(?:es|as)|"
    r"freelancers|gestantes|tutores|leitor(?:es|as)|moradores|desenvolvedor(?:es|as)|médic[oa]s|advogad[oa]s|"
    r"universitári[oa]s)"
)
_PT_STOP = (
    _END + r"|\s+(?:com|e\s+(?:com|foco)|que|entre|focad[oa]s?|voltad[oa]s?|destinad[oa]s?|direcionad[oa]s?|cuj[oa]s?|"
    r"em\s+tom|a\s+partir|da\s+marca|até|de\s+R\$|por\s+R\$|no\s+valor|custando|público|"
    r"para\s+(?:as?\s+|os?\s+)?" + _PT_PEOPLE + r")(?=\W|$))"
)
_PT_AD = (
    r"(?:anúncios?|propagandas?|campanhas?|peças?|publicidades?|posts?|textos?|banners?|variações|materia(?:l|is)|copys?)"
    r"(?:\s+(?:digita(?:l|is)|publicitári[oa]s?|curt[oa]s?|online|de\s+(?:marketing|texto|publicidade|divulgação)|"
    r"em\s+inglês|em\s+português))*"
)
_EN_PEOPLE = (
    r"(?:people|women|men|adults|young|students|parents|mothers|fathers|moms|dads|kids|children|seniors|professionals|runners|"
    r"cyclists|athletes|beginners|families|customers|gamers|owners|lovers|fans|couples|teachers|travell?ers|workers|"
    r"freelancers|developers|entrepreneurs|businesses|readers|commuters|anyone|those|everyone|busy|home\s+cooks)"
)
_EN_STOP = (
    _END + r"|\s+(?:with|that|which|who|focus(?:ed|ing|es)?|aimed|targeted|targeting|designed|intended|whose|in\s+an?|"
    r"at\s+\$|(?:for|to)\s+(?:\$|" + _EN_PEOPLE + r")|from\s+\$|until|by\s+the\s+brand|aged?|between)(?=\W|$))"
)
_EN_AD = r"(?:ads?|adverts?|advertisements?|campaigns?|posts?|cop(?:y|ies)|banners?|creatives?|promos?|commercials?)"

GRAMMARS: dict[Language, Grammar] = {
    "pt-BR": Grammar(
        article=r"(?:(?:um|uma|uns|umas|o|a|os|as|meu|minha|meus|minhas|nosso|nossa|nossos|nossas|seu|sua)\s+)?"
        r"(?:(?:novo|nova|novos|novas)\s+)?",
        product=(
            _PT_AD + r"\s+(?:para|de|d[oa]s?|sobre|pra)\s+"
            r"(?:(?:divulgar|promover|vender|anunciar|lançar|o\s+lançamento\s+d[eoa]s?)\s+)?",
            r"\b(?:divulgar|promover|anunciar|vender|vendo|vendemos|lançar|lançamos|ofereço|oferecemos)\s+",
        ),
        stop=_PT_STOP,
        people=_PT_PEOPLE,
        focus=r"(?:focad[oa]s?\s+(?:em|n[oa]s?)|(?:com|o)\s+foco\s+(?:em|n[oa]s?|é)|foco:?\s+(?:em|n[oa]s?)|"
        r"foca\s+(?:em|n[oa]s?)|ênfase\s+(?:em|n[oa]s?)|voltad[oa]s?\s+(?:para|a|ao|à))\s+(?:(?:[oa]s?)\s+)?",
        audience=(
            r"público(?:[- ]alvo)?(?:\s+(?:é|são|de|formado\s+por|composto\s+por)|:)?\s+",
            r"(?:destinad[oa]s?|direcionad[oa]s?|voltad[oa]s?)\s+(?:a|para|às?|aos?)\s+(?=" + _PT_PEOPLE + ")",
            r"\bpara\s+(?:as?\s+|os?\s+)?(?=" + _PT_PEOPLE + ")",
        ),
        tone_of=r"\b(?:em|com)\s+(?:um\s+)?tom\b",
        image=r"(?:image(?:m|ns)|foto(?:grafia)?|ilustração|figura)\b[^.;\n]{0,30}?\b(destaque|destacando|evidencie|enfatize|"
        r"ressalte|valorize|mostre|mostrando|traga|com|de)\s+(?:(?:[oa]s?)\s+)?([^.;\n]+)",
        feature=r"\bcom\s+(?!público|foco|tom|ênfase|desconto|imagem|título|\d+\s?%)([^,.;:!?\n()]+?)" + _PT_STOP,
        tone=r"\b(?:em|com|use)?\s*(?:um\s+)?tom\s+(?:mais\s+|de\s+voz\s+)?([^.;,\n]+)",
        brand=r"\b(?:da\s+|a\s+)?marca:?\s+",
        action=r"(?:chamada\s+(?:para|à)\s+(?:a\s+)?ação|botão|CTA)\s*:?\s*[\"“']([^\"”']{1,40})[\"”']",
        labels={
            "produto": "product",
            "foco": "focus",
            "público": "audience",
            "público-alvo": "audience",
            "tom": "tone",
            "imagem": "image_hint",
            "benefícios": "benefits",
            "diferenciais": "benefits",
            "marca": "brand",
        },
        discount=r"(\d{1,3}(?:,\d+)?)\s?%\s+(?:de\s+desconto|off)|desconto\s+de\s+(\d{1,3}(?:,\d+)?)\s?%",
        deadline=r"\b(?:até|válid[oa]\s+até|termina\s+em)\s+(?:o\s+dia\s+)?"
        r"(?:(?P<d>\d{1,2})/(?P<m>\d{1,2})/(?P<y>\d{4})|"
        r"(?P<day>\d{1,2})\s+de\s+(?P<month>[a-zç]+)\s+de\s+(?P<year>\d{4}))",
    ),
    "en": Grammar(
        article=r"(?:(?:an?|the|my|our|your|some)\s+)?(?:new\s+)?",
        product=(
            _EN_AD + r"\s+(?:for|about|to\s+(?:promote|sell|advertise|launch|announce))\s+",
            r"\b(?:promote|sell|advertise|launch|selling|promoting)\s+",
        ),
        stop=_EN_STOP,
        people=_EN_PEOPLE,
        focus=r"(?:focus(?:ed|ing|es)?\s+(?:on|is)|with\s+a\s+focus\s+on|emphasis\s+on)\s+(?:(?:the|your)\s+)?",
        audience=(
            r"(?:target\s+audience|audience|target\s+market)(?:\s+(?:is|of|are)|:)?\s+",
            r"(?:aimed|targeted|geared|directed)\s+(?:at|to|towards?|for)\s+",
            r"\b(?:targeting|designed\s+for|intended\s+for)\s+(?=" + _EN_PEOPLE + ")",
            r"\b(?:for|to)\s+(?=" + _EN_PEOPLE + ")",
        ),
        tone_of=r"\b(?:in|with)\s+an?\s+(?:[\w-]+\s+){1,3}(?:tone|voice)\b",
        image=r"(?:image|picture|photo(?:graph)?|illustration|visual)\b[^.;\n]{0,30}?\b(highlight(?:s|ing)?|"
        r"emphasi[sz](?:es?|ing)|feature[sd]?|featuring|show(?:s|ing)?|of|with)\s+(?:the\s+)?([^.;\n]+)",
        feature=r"\bwith\s+(?!an?\s+(?:focus|image|picture|emphasis|friendly|playful)|audience|\d+\s?%)(?:an?\s+)?"
        r"([^,.;:!?\n()]+?)" + _EN_STOP,
        tone=r"\b(?:in|with|use)\s+an?\s+((?:[\w-]+,?\s+(?:and\s+)?){0,2}[\w-]+)\s+(?:tone|voice)\b|"
        r"\btone:?\s+(?:should\s+be\s+|is\s+)?([^.;,\n]+)",
        brand=r"\b(?:the\s+)?brand:?\s+(?:(?:is|called|named)\s+)?",
        action=r"(?:call\s+to\s+action|button|CTA)\s*:?\s*[\"“']([^\"”']{1,40})[\"”']",
        labels={
            "product": "product",
            "focus": "focus",
            "audience": "audience",
            "target audience": "audience",
            "tone": "tone",
            "image": "image_hint",
            "benefits": "benefits",
            "features": "benefits",
            "brand": "brand",
        },
        discount=r"(\d{1,3}(?:\.\d+)?)\s?%\s+(?:off|discount)",
        deadline=r"\b(?:until|through|ends(?:\s+on)?|valid\s+(?:until|through))\s+"
        r"(?:(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})|(?P<month>[A-Za-z]+)\s+(?P<day>\d{1,2}),?\s+(?P<year>\d{4}))",
    ),
}
MONTHS: dict[Language, str] = {
    "pt-BR": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "en": "january february march april may june july august september october november december",
}
