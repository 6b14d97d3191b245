"""Briefs that several tests share: the README's, and others of our own, in both languages."""

from datetime import date
from decimal import Decimal

from arauto.core.brief import Brand, Brief, Claim, Offer
from arauto.creative import understand

README_WORDS = (
    "Crie um anúncio digital para um smartwatch focado em saúde, com público-alvo entre 25 e 40 anos. "
    "Forneça título, descrição curta e uma sugestão de imagem que destaque monitoramento de batimentos."
)
ENGLISH_WORDS = (
    "Create a digital ad for a smartwatch focused on health, aimed at people aged 25 to 40. "
    "Give a title, a short description and an image suggestion that highlights heart rate monitoring."
)

SHOES = Brief(
    product="tênis de corrida",
    focus="conforto",
    benefits=("amortecimento leve", "cadarço que não solta"),
    audience="quem corre na rua",
    brand=Brand(name="Passo Firme"),
    offer=Offer(
        price=Decimal("399.90"),
        was=Decimal("599.90"),
        currency="BRL",
        discount=Decimal(33),
        deadline=date(2026, 11, 30),
    ),
)
COFFEE = Brief(
    product="assinatura de café",
    focus="sabor",
    benefits=("grãos torrados toda semana", "entrega mensal em casa"),
    audience="quem trabalha em casa",
    claims=(
        Claim(text="o melhor café da feira de Serra Alta", evidence="first prize, jury sheet of 2026-05-02"),
        Claim(text="colhido à mão"),
    ),
)
ENGLISH = Brief(
    product="running shoes",
    language="en",
    focus="comfort",
    benefits=("light sole",),
    audience="beginners",
    brand=Brand(name="Sure Step"),
    offer=Offer(price=Decimal("89.90"), currency="USD", discount=Decimal("12.5"), deadline=date(2026, 12, 15)),
)

PORTUGUESE_BRIEFS = (
    understand(README_WORDS),
    SHOES,
    COFFEE,
    Brief(product="cursos de inglês", focus="conversação", image_hint="um casal na praia"),
    Brief(product="Aurora X2"),
    Brief(product="ração para cães", benefits=("Grãos selecionados.",)),
    Brief(product="óculos de sol", focus="estilo e conforto", audience="quem dirige"),
    Brief(product="air fryer", benefits=("cozinha sem óleo",), brand=Brand(name="Lumi")),
    Brief(product="aulas de violão", focus="aprender sem pressa", audience="adultos iniciantes"),
    Brief(product="consultoria contábil", offer=Offer(discount=Decimal("12.5"))),
    Brief(product="plano de saúde para pequenas empresas do comércio e dos serviços de bairro"),
    Brief(product="aprender a desenhar"),
)
ENGLISH_BRIEFS = (
    understand(ENGLISH_WORDS),
    ENGLISH,
    Brief(
        product="coffee subscription",
        language="en",
        focus="flavour",
        benefits=("beans roasted every week", "one box a month"),
    ),
    Brief(product="English courses", language="en", focus="conversation"),
    Brief(product="Aurora X2", language="en"),
    Brief(product="dog food", language="en", benefits=("easy to digest", "resealable bag")),
    Brief(product="sunglasses", language="en", focus="style and comfort", audience="drivers"),
    Brief(product="air fryer", language="en", benefits=("Cooks without oil.",), brand=Brand(name="Lumi")),
    Brief(product="guitar lessons", language="en", focus="learning without hurry", audience="adult beginners"),
    Brief(product="bookkeeping service", language="en", offer=Offer(deadline=date(2026, 12, 15))),
)
