"""The model card: one page for one version, by which a person decides whether it goes to production."""

from collections.abc import Sequence

from dovetail.pages import sections
from dovetail.pages.html import Content, Html, join, tag
from dovetail.pages.records import Card, Unknown, Word
from dovetail.pages.style import STYLE

_PYTHON = "python -m dovetail"


def page(card: Card) -> str:
    """The card as one self-contained HTML file: no script, nothing is fetched from anywhere."""
    title = f"{card.name} version {card.version}"
    # If a value ever got out of its quotes, the browser would still run and fetch nothing.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = tag(
        "head", tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title}: {verdict(card)[1]}"), tag("style", Html(STYLE)),
    )  # fmt: skip
    body = tag(
        "body", tag("h1", title), tag("p", _subtitle(card), class_="soft"),
        _verdict(card), _warnings(card), _rules(card),
        sections.metrics(card), sections.slices(card), sections.calibration(card.calibration),
        sections.behaviour(card.behaviour), sections.drift(card.drift), sections.importances(card.importances),
        sections.lineage(card), _words(card), _commands(card),
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{join(tag('html', head, body, lang='en'))}\n"


def verdict(card: Card) -> tuple[str, str, str]:
    """How it stands with the version: a colour, a headline and a sentence."""
    over = f"against {card.champion}" if card.champion else "as the first version"
    stays = f"{card.champion} stays in production." if card.champion else "Nothing is in production."
    words = () if isinstance(card.words, Unknown) else card.words
    if recalled := _last(words, "recall"):
        return "bad", "Recalled", f"{recalled.who} took it out of use for good: {recalled.why}"
    if card.judged.decision == "off":
        return "bad", "Never judged", f"The gate was off when this version was asked for, {over}: nothing was measured."
    if card.judged.mode == "dry_run":
        would = "would" if card.judged.decision == "passed" else "would not"
        tone = "note" if card.judged.decision == "passed" else "bad"
        return tone, f"Dry run: {would} be promoted", f"Judged {over}. Nothing was moved."
    if card.judged.decision == "refused":
        if card.is_champion:
            return "bad", "Refused, and yet champion", "The gate refused it, and somebody moved the alias by hand."
        return "bad", "Not promoted", f"The gate refused it {over}. {stays}"
    return _passed(card, words, over)


def _last(words: Sequence[Word], *acts: str) -> Word | None:
    return next((word for word in reversed(words) if word.act in acts), None)


def _passed(card: Card, words: Sequence[Word], over: str) -> tuple[str, str, str]:
    if card.is_champion:
        return "good", "Promoted", f"It passed the gate {over}, and became the champion."
    last = _last(words, "approve", "reject")
    if last and last.act == "reject":
        return "bad", f"Rejected by {last.who}", f"It passed the gate {over}, and a person said no: {last.why}"
    if last:
        return "good", "Approved", f"It passed the gate {over}, and {last.who} said yes. It is not in production yet."
    if card.needs_approval:
        return (
            "wait",
            "Waits for approval",
            f"It passed the gate {over}. Before it is promoted a person has to say yes.",
        )
    return "good", "Passed the gate", f"Judged {over}. It is not in production yet."


def _subtitle(card: Card) -> str:
    against = f"compared with {card.champion}" if card.champion else "the first of its name"
    return f"Model card, made {card.at:%Y-%m-%d %H:%M} UTC, {against}."


def _verdict(card: Card) -> Html:
    tone, headline, sentence = verdict(card)
    return tag("div", tag("strong", headline), tag("p", sentence), class_=f"verdict {tone}")


def _warnings(card: Card) -> Content:
    return [tag("p", tag("b", "Mind: "), warning, class_="wait") for warning in card.warnings]


def _rules(card: Card) -> Content:
    """The gate's rules with their numbers, those about behaviour further down."""
    return sections.rules(card.judged.rules) if card.judged.rules else None


def _words(card: Card) -> Html:
    title = "Who said what"
    if isinstance(card.words, Unknown):
        return sections.section(title, "", card.words)
    asked = "This profile asks for a person's yes." if card.needs_approval else "This profile asks for nobody's yes."
    if not card.words:
        return sections.section(title, asked, tag("p", "The journal has no line about it."))
    head = tag("tr", [tag("th", name) for name in ("when (UTC)", "what", "who", "why")])
    lines = [
        tag("tr", tag("td", word.at[:16].replace("T", " ")), _act(word.act), tag("td", word.who), tag("td", word.why))
        for word in card.words
    ]
    return sections.section(title, asked, sections.table(head, lines))


def _act(act: str) -> Html:
    kind = {"approve": "good", "promote": "good", "reject": "bad", "recall": "bad"}.get(act)
    return tag("td", tag("b", act, class_=kind))


def _commands(card: Card) -> Html:
    version = card.version
    lines = [
        ("say yes, or no", f'{_PYTHON} approve version={version} reason="…"'),
        ("", f'{_PYTHON} reject version={version} reason="…"'),
        ("put it in production", f"{_PYTHON} promote"),
        ("take it back", f'{_PYTHON} rollback reason="…"'),
        ("what happened to it", f"{_PYTHON} history"),
        ("verify where it came from", f"{_PYTHON} trace model={card.name}/{version} verify=true"),
        *([("was it data or code", f"{_PYTHON} compare old=champion new={version}")] if card.champion else []),
    ]
    width = max(len(what) for what, _ in lines)
    text = "\n".join(f"{what:<{width}}  {command}" for what, command in lines)
    return sections.section("What to type", "", tag("pre", text))
