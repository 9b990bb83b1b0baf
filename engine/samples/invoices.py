"""Composes the messages and answers of the invoice-json set: invented vendors, drawn facts, many ways to say them.

Used by the builder only. It knows nothing about files, and nothing about how an answer is judged.
"""

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

SYSTEM = "Answer in JSON: vendor, number, date, currency, total, items."

# The first names of the vendors are parted, so that no vendor of the held-out rows is in the training rows.
TRAIN_NAMES = (
    "Alderbrook",
    "Ashgrove",
    "Bramblewick",
    "Brightwater",
    "Cinderford",
    "Copperpot",
    "Dovecote",
    "Eastmere",
    "Fennimore",
    "Foxhollow",
    "Goldcrest",
    "Greenmantle",
    "Harrowgate",
    "Hazelmoor",
    "Ironbridge",
    "Juniper",
    "Kingsmarsh",
    "Larkfield",
    "Lindenhall",
    "Maplewick",
    "Marigold",
    "Millbrook",
    "Moorhen",
    "Northlight",
    "Oakhurst",
    "Otterburn",
    "Pebbleton",
    "Pinewood",
    "Quillford",
    "Redfern",
    "Rookwood",
    "Saltmarsh",
    "Silverbirch",
    "Stonecroft",
    "Swiftwater",
    "Tamarind",
    "Thistledown",
    "Umberleigh",
    "Wavecrest",
    "Willowbank",
)
HELD_OUT_NAMES = (
    "Applecross",
    "Bluebell",
    "Cranford",
    "Driftwood",
    "Elmstead",
    "Heronsgate",
    "Ivybank",
    "Kestrel",
    "Nettlecombe",
    "Windermoor",
)

# What each trade sells: one, several, and the price of one in hundredths.
GOODS: dict[str, list[tuple[str, str, int]]] = {
    "Stationery": [
        ("notebook", "notebooks", 450),
        ("box of pencils", "boxes of pencils", 799),
        ("stapler", "staplers", 1250),
        ("ream of paper", "reams of paper", 620),
        ("wall calendar", "wall calendars", 1495),
    ],
    "Catering": [
        ("cheese platter", "cheese platters", 3850),
        ("fruit basket", "fruit baskets", 2400),
        ("lunch tray", "lunch trays", 4275),
        ("lemon cake", "lemon cakes", 2890),
        ("jug of juice", "jugs of juice", 715),
    ],
    "Lighting": [
        ("desk lamp", "desk lamps", 3495),
        ("ceiling lamp", "ceiling lamps", 8900),
        ("LED bulb", "LED bulbs", 585),
        ("extension cable", "extension cables", 1140),
    ],
    "Gardening": [
        ("watering can", "watering cans", 1675),
        ("bag of soil", "bags of soil", 830),
        ("rose bush", "rose bushes", 1999),
        ("flower pot", "flower pots", 660),
        ("rake", "rakes", 2210),
    ],
    "Books": [
        ("atlas", "atlases", 4200),
        ("cookbook", "cookbooks", 2650),
        ("dictionary", "dictionaries", 3180),
        ("picture book", "picture books", 1299),
    ],
    "Furniture": [
        ("office chair", "office chairs", 14900),
        ("bookshelf", "bookshelves", 9950),
        ("side table", "side tables", 6475),
        ("cushion", "cushions", 1820),
    ],
    "Tools": [
        ("hammer", "hammers", 1890),
        ("screwdriver set", "screwdriver sets", 2745),
        ("tape measure", "tape measures", 960),
        ("pair of gloves", "pairs of gloves", 1105),
        ("ladder", "ladders", 7860),
    ],
    "Computers": [
        ("keyboard", "keyboards", 3990),
        ("USB cable", "USB cables", 875),
        ("monitor stand", "monitor stands", 5420),
        ("webcam", "webcams", 4630),
        ("mouse", "mice", 2115),
    ],
}
ENDINGS = (
    "{name} {trade}",
    "{name} {trade} Ltd",
    "{name} & Sons {trade}",
    "{trade} by {name}",
    "{name} {trade} Company",
)
NUMBERS = ("INV-{n}", "A{n}", "R-{n}", "2026/{n}", "{n}", "B-{n}-X")
DATES = (
    "{d:%Y-%m-%d}",
    "{d.day} {d:%B} {d.year}",
    "{d:%B} {d.day}, {d.year}",
    "{d.day} {d:%b} {d.year}",
    "{d:%d.%m.%Y}",
)
MONEY = {
    "EUR": ("EUR {sum}", "€{sum}", "{sum} euros", "{sum} EUR"),
    "USD": ("${sum}", "USD {sum}", "{sum} US dollars", "US${sum}"),
    "GBP": ("£{sum}", "GBP {sum}", "{sum} pounds", "{sum} GBP"),
    "CHF": ("CHF {sum}", "{sum} Swiss francs", "{sum} CHF"),
    "SEK": ("SEK {sum}", "{sum} SEK", "{sum} Swedish kronor"),
}
MESSAGES = (
    "Dear customer, thank you for your order. Invoice {number} of {date}: {items}. Total: {money}. {vendor}",
    "{vendor}\nInvoice no. {number}\nDate: {date}\n{list}\nTotal due: {money}",
    "Hello, please find our invoice {number} for {items}, {money} in all, dated {date}. Kind regards, {vendor}",
    "Receipt from {vendor}. {date}. {items}. Paid: {money}. Receipt number {number}. Come again soon!",
    "Hi there! Your order {number} has shipped: {items}. We charged {money} on {date}. Cheers, {vendor}",
    "On {date} {vendor} sent us bill {number} over {money}. It covers {items}. Could you pay it this week?",
    "Subject: Invoice {number}\nGood morning, we delivered {items}. The amount is {money}, billed on {date}.\n{vendor}",
    "Order confirmation {number}\nPlaced on {date} with {vendor}\n{list}\nTo pay: {money}",
    "We at {vendor} thank you for buying {items}. Your card was charged {money} on {date}, reference {number}.",
    "A reminder: invoice {number} from {date} is still open. It was for {items}. Please send {money}. {vendor}",
    "Forwarding this one: {vendor}, {items}, {money}. The invoice is number {number} and carries the date {date}.",
    "{money} is due to {vendor} for {items}. Invoice {number}, issued {date}, payable within 14 days.",
    "RECEIPT {number}\n{list}\nSUM {money}\n{date}\n{vendor}\nThank you!",
    "Good news, your parcel is here. {vendor} packed {items} under order {number} on {date}. The price was {money}.",
    "Bill {number}, {date}. Sold by {vendor}: {items}. Amount: {money}, tax included.",
    "Please book this for me: I bought {items} from {vendor} on {date} and paid {money}. The receipt says {number}.",
)


class Invoice(NamedTuple):
    """The facts of one purchase; the total is in hundredths of the currency."""

    vendor: str
    number: str
    day: date
    currency: str
    total: int
    items: list[tuple[str, int]]


def conversations(
    count: int, held_out: int, rng: random.Random
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """`count` training rows and `held_out` further ones, with no vendor and no number in common."""
    codes = iter(rng.sample(range(1000, 99999), count + held_out))
    shapes = _in_turn(MESSAGES, rng)
    train = [_row(_invoice(TRAIN_NAMES, next(codes), rng), next(shapes), rng) for _ in range(count)]
    kept = [_row(_invoice(HELD_OUT_NAMES, next(codes), rng), next(shapes), rng) for _ in range(held_out)]
    return train, kept


def _in_turn(choices: tuple[str, ...], rng: random.Random) -> Iterator[str]:
    """Every choice once in a new order, again and again."""
    while True:
        yield from rng.sample(choices, len(choices))


def _invoice(names: tuple[str, ...], code: int, rng: random.Random) -> Invoice:
    trade = rng.choice(list(GOODS))
    bought = [
        (goods, rng.choice((1, 1, 2, 3, 4, 5, 6, 8, 10, 12))) for goods in rng.sample(GOODS[trade], rng.randint(1, 3))
    ]
    currency = rng.choice(list(MONEY))
    total = sum(price * quantity for (_, _, price), quantity in bought) + rng.choice((0, 0, 0, 490, 1250))
    return Invoice(
        vendor=rng.choice(ENDINGS).format(name=rng.choice(names), trade=trade),
        number=rng.choice(NUMBERS).format(n=code),
        day=date(2025, 1, 1) + timedelta(days=rng.randrange(730)),
        currency=currency,
        total=total * 10 if currency == "SEK" else total,  # a krona is worth about a tenth of the others
        items=[((one if quantity == 1 else several), quantity) for (one, several, _), quantity in bought],
    )


def _row(invoice: Invoice, shape: str, rng: random.Random) -> dict[str, object]:
    turns = (("system", SYSTEM), ("user", _message(invoice, shape, rng)), ("assistant", _answer(invoice)))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _message(invoice: Invoice, shape: str, rng: random.Random) -> str:
    item = rng.choice(("{quantity} {name}", "{quantity} x {name}", "{name} ({quantity})"))
    said = [item.format(name=name, quantity=quantity) for name, quantity in invoice.items]
    return shape.format(
        vendor=invoice.vendor,
        number=invoice.number,
        date=rng.choice(DATES).format(d=invoice.day),
        money=rng.choice(MONEY[invoice.currency]).format(sum=f"{invoice.total / 100:,.2f}"),
        items=" and ".join([", ".join(said[:-1]), said[-1]]) if said[1:] else said[0],
        list="\n".join(f"- {line}" for line in said),
    )


def _answer(invoice: Invoice) -> str:
    """Compact JSON, with the total written as it stands in the message: two decimals."""
    fields = {
        "vendor": invoice.vendor,
        "number": invoice.number,
        "date": invoice.day.isoformat(),
        "currency": invoice.currency,
        "total": "TOTAL",
        "items": [{"name": name, "quantity": quantity} for name, quantity in invoice.items],
    }
    compact = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return compact.replace('"TOTAL"', f"{invoice.total // 100}.{invoice.total % 100:02d}", 1)
