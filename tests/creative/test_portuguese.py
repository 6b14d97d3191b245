"""Articles agree with any product, or are left out."""

import pytest

from arauto.creative.portuguese import disagreement, forms_of, noun_of


@pytest.mark.parametrize(
    ("article", "products"),
    [
        (
            "o",
            "smartwatch|tênis de corrida|creme para as mãos|fone de ouvido|colchão|relógio|hotel|pão",
        ),
        (
            "o",
            "seguro de carro|celular|mini projetor|papel higiênico|chocolate amargo|café especial|protetor solar|avião",
        ),
        (
            "os",
            "cursos de inglês|óculos de sol|cartões de crédito|planos de saúde|chás|vinhos|automóveis|lençóis|pastéis",
        ),
        ("a", "assinatura de café|ração para cães|air fryer|smart TV|mochila|bicicleta elétrica|consultoria|televisão"),
        ("a", "cerveja|geladeira|viagem|lã merino|opinião|conexão de internet|Smart TV|nova bolsa"),
        ("as", "aulas de violão|luminárias|viagens|flores|panelas|luzes|meias|refeições|colheres"),
        ("", "Aurora X2|aprender inglês|running shoes|iPhone 15|pilates|jeans|2048|pet shop"),
    ],
)
def test_the_article_of_a_product(article, products):
    for product in products.split("|"):
        noun = noun_of(product)
        assert (noun.article if noun else "") == article, product


def test_the_forms_that_agree():
    noun = noun_of("aulas de violão")
    assert noun is not None
    forms = forms_of(noun)
    assert [forms[name] for name in ("o", "um", "do", "no", "seu", "Seu")] == [
        "as",
        "umas",
        "das",
        "nas",
        "suas",
        "Suas",
    ]
    assert forms_of(noun_of("tênis"))["um"] == "um"
    assert forms_of(noun_of("óculos"))["um"] == "uns"


@pytest.mark.parametrize(
    ("text", "product", "wrong"),
    [
        ("Com a smartwatch, você corre melhor.", "smartwatch", "a smartwatch"),
        ("Minha tênis de corrida", "tênis de corrida", "Minha tênis"),
        ("O assinatura de café chegou", "assinatura de café", "O assinatura"),
        ("Um pausa no seu rotina.", "smartwatch", "Um pausa"),
        ("Com o smartwatch, a sua rotina, o seu ritmo e a cada dia um programa novo.", "smartwatch", ""),
        ("Vou a pé, a caminho do trabalho, com a melhor atleta e um ciclista.", "tênis", ""),
        ("Com a Aurora X2 no braço", "Aurora X2", ""),
        ("No dia a dia, na mão, em uma opinião e um avião.", "tênis", ""),
    ],
)
def test_a_determiner_of_the_other_gender_is_found(text, product, wrong):
    assert disagreement(text, product) == wrong
