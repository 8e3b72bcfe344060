"""Write the table at the top of docs/results.md from the records below it, beside the paper's figures and others'.

    python benchmarks/overview.py

It reads what `solve.py` has written, and trains nothing.
"""

import re
from typing import Any, NamedTuple

import solve
from measure import put, table

NAME = "Overview"
RECORDS = {  # and the paper's task and model
    "Copy, cross-entropy": ("copy", "NTM, LSTM"),
    "Copy, Huber": ("copy", "NTM, LSTM"),
    "Copy, feedforward controller": ("copy", "NTM, feedforward"),
    "Repeat copy": ("repeat_copy", "NTM, LSTM"),
    "Repeat copy, feedforward controller, two heads": ("repeat_copy", "NTM, feedforward"),
    "Recall, cross-entropy": ("recall", "NTM, LSTM"),
    "Recall, Huber": ("recall", "NTM, LSTM"),
    "Recall, feedforward controller": ("recall", "NTM, feedforward"),
    "N-grams": ("ngrams", "NTM, LSTM"),
    "N-grams, feedforward controller": ("ngrams", "NTM, feedforward"),
    "Sort": ("sort", "NTM, LSTM"),
    "Sort, feedforward controller": ("sort", "NTM, feedforward"),
}
SHOWN = {
    "copy": ["120"],
    "repeat_copy": ["10x10", "20x10", "10x20"],
    "recall": ["20"],
    "ngrams": ["200"],
    "sort": ["20"],
}


class Section(NamedTuple):
    """A record, as it stands in the document."""

    lines: list[str]

    def said(self, pattern: str) -> str:
        """What a line says behind these words; nothing where none has them."""
        found = (re.search(pattern, line) for line in self.lines)
        return next((each[1].rstrip(".") for each in found if each), "")

    def tables(self) -> list[dict[str, str]]:
        """The rows of all its tables, by their headings."""
        rows, headings = [], []
        for before, line in zip(["", *self.lines], self.lines, strict=False):
            words = [word.strip() for word in line.strip("|").split(" | ")] if line.startswith("| ") else []
            if words and not before.startswith("| "):
                headings = words
            elif words and not words[0].startswith("---"):
                rows.append(dict(zip(headings, words, strict=True)))
        return rows


def main() -> None:
    found = {name: section for name in RECORDS if (section := read(name))}
    lines = overview(found)
    put(solve.RECORDS, NAME, lines, "# Results\n")
    print("\n".join(lines))


def read(name: str) -> Section | None:
    """The section of a record; None where there is none."""
    mark = re.sub(r"\W+", "-", name.lower())
    text = solve.RECORDS.read_text(encoding="utf-8")
    found = re.search(f"<!-- begin {mark} -->\n(.*?)<!-- end {mark} -->", text, re.DOTALL)
    return Section(found[1].splitlines()) if found else None


def overview(records: dict[str, Section]) -> list[str]:
    """A row for every record."""
    headings = ["record", "right at every test length", "to 0.05 bits", "sequences", "seconds"]
    headings += ["wrong bits", "bits", "the paper's bits", "the best since"]
    rows = []
    for name, section in records.items():
        task, model = RECORDS[name]
        solved = section.said(r"No wrong bit at any test length: (.*) seeds")
        seeds = section.said(r"Finished: (\d+ of \d+ seeds)")
        counts = ["first below 0.05 bits: (.*)", r"Sequences in all: median ([\d,]+)", r"of training: median ([\d,]+)"]
        known = solve.read_published(task)[model]
        rows.append(
            [
                f"[{name}](#{re.sub(r'[^a-z0-9 -]', '', name.lower()).replace(' ', '-')})",
                solved or f"({seeds})",
                *(section.said(count).removeprefix("median ") for count in counts),
                at_each(SHOWN[task], wrong_bits(section)),
                at_each(SHOWN[task], bits(section)),
                papers(known, SHOWN[task][-1]),
                str(known.get("since", "")),
            ]
        )
    return [
        "## Overview",
        "",
        "    python benchmarks/overview.py",
        "",
        *table(headings, rows),
        "",
        "From the records below: medians (ranges) over the seeds. To 0.05 bits: sequences to the first held-out "
        "cost below it. Sequences and seconds: of the whole training. Wrong bits and bits: of a test sequence of "
        "120 vectors to copy; of 10 vectors to say 10 times (10x10), 20 to say 10 times and 10 to say 20 times; of "
        "20 items; of 200 bits, above the best guess; of 20 vectors to sort. The paper's are read off its plots: of "
        "the same test or, after so many sequences, of the training range. The best since is of one seed.",
        "",
    ]


def wrong_bits(section: Section) -> dict[str, str]:
    """At every test length: as the record sums them up, or from its seeds' rows."""
    for row in section.tables():
        if "wrong bits" in row.values():
            return {key.removeprefix("at "): value for key, value in row.items() if key.startswith("at ")}
    seeds = [row for row in section.tables() if "seed" in row]
    names = [key for key in seeds[0] if key.startswith("at ")]
    columns = {name: [float(row[name]) for row in seeds if row[name]] for name in names}
    return {name.removeprefix("at "): str(solve.spread(column)) for name, column in columns.items()}


def bits(section: Section) -> dict[str, str]:
    """At every test length, as far as the record says."""
    for row in section.tables():
        if "bits" in row.values():
            return {key.removeprefix("at "): value for key, value in row.items() if key.startswith("at ")}
    told = {}
    for line in section.lines:
        if found := re.match(r"- Bits(?: above the best guess)? at (\S+): median (.*)\.", line):
            told[found[1]] = found[2].replace(" to ", "-")
    return told


def at_each(names: list[str], values: dict[str, str]) -> str:
    """One value, or several with their test lengths."""
    known = [(name, values[name]) for name in names if name in values]
    return "; ".join(f"{name}: {value}" for name, value in known) if len(names) > 1 else "".join(v for _, v in known)


def papers(known: dict[str, Any], length: str) -> str:
    """The paper's bits at a test length, or else of held-out sequences at the end of its training."""
    if "lengths" in known:
        return f"{known['lengths'][int(length)]:g}"
    at = max(known["learning"])
    return f"{known['learning'][at]:g} after {at:,}"


if __name__ == "__main__":
    main()
