"""Write the table at the top of docs/results.md from the records below it, beside the paper's figures and others'.

    python benchmarks/overview.py

It reads what `solve.py` has written, and trains nothing.
"""

import re
from itertools import pairwise
from typing import Any

import solve
from measure import get, put, table

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


def main() -> None:
    lines = overview({name: lines for name in RECORDS if (lines := get(solve.RECORDS, name))})
    put(solve.RECORDS, NAME, lines, "# Results\n")
    print("\n".join(lines))


def overview(records: dict[str, list[str]]) -> list[str]:
    """A row for every record, of which these are the lines."""
    headings = ["record", "right at every test length", "to 0.05 bits", "sequences", "seconds"]
    headings += ["wrong bits", "bits", "the paper's bits", "the best since"]
    cells = []
    for name, lines in records.items():
        task, model = RECORDS[name]
        solved = said(lines, r"No wrong bit at any test length: (.*) seeds")
        seeds = said(lines, r"Finished: (\d+ of \d+ seeds)")
        counts = ["first below 0.05 bits: (.*)", r"Sequences in all: median ([\d,]+)", r"of training: median ([\d,]+)"]
        known = solve.read_published(task)[model]
        cells.append(
            [
                f"[{name}](#{re.sub(r'[^a-z0-9 -]', '', name.lower()).replace(' ', '-')})",
                solved or f"({seeds})",
                *(said(lines, count).removeprefix("median ") for count in counts),
                at_each(SHOWN[task], wrong_bits(lines)),
                at_each(SHOWN[task], bits(lines)),
                papers(known, SHOWN[task][-1]),
                str(known.get("since", "")),
            ]
        )
    return [
        "## Overview",
        "",
        "    python benchmarks/overview.py",
        "",
        *table(headings, cells),
        "",
        "From the records below: medians (ranges) over the seeds. To 0.05 bits: sequences to the first held-out "
        "cost below it. Sequences and seconds: of the whole training. Wrong bits and bits: of a test sequence of "
        "120 vectors to copy; of 10 vectors to say 10 times (10x10), 20 to say 10 times and 10 to say 20 times; of "
        "20 items; of 200 bits, above the best guess; of 20 vectors to sort. The paper's are read off its plots: of "
        "the same test or, after so many sequences, of the training range. The best since is of one seed.",
        "",
    ]


def said(lines: list[str], pattern: str) -> str:
    """What a line says behind these words; nothing where none has them."""
    found = (re.search(pattern, line) for line in lines)
    return next((each[1].rstrip(".") for each in found if each), "")


def rows(lines: list[str]) -> list[dict[str, str]]:
    """The rows of all tables among the lines, by their headings."""
    found: list[dict[str, str]] = []
    headings: list[str] = []
    for before, line in pairwise(["", *lines]):
        words = [word.strip() for word in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if words and not before.startswith("| "):
            headings = words
        elif words and not words[0].startswith("---"):
            found.append(dict(zip(headings, words, strict=True)))
    return found


def summed_up(lines: list[str], what: str) -> dict[str, str]:
    """A row of the record's summary, by test length; nothing where an older record has none."""
    of_all = next((row for row in rows(lines) if what in row.values()), {})
    return {key.removeprefix("at "): value for key, value in of_all.items() if key.startswith("at ")}


def wrong_bits(lines: list[str]) -> dict[str, str]:
    """At every test length: as the record sums them up, or from its seeds' rows."""
    seeds = [row for row in rows(lines) if "seed" in row]
    names = [key for key in seeds[0] if key.startswith("at ")]
    columns = {name.removeprefix("at "): [float(row[name]) for row in seeds if row[name]] for name in names}
    each = {name: str(solve.spread(column)) for name, column in columns.items()}
    return summed_up(lines, "wrong bits") or each


def bits(lines: list[str]) -> dict[str, str]:
    """At every test length, as far as the record says."""
    told = (re.match(r"- Bits(?: above the best guess)? at (\S+): median (.*)\.", line) for line in lines)
    return summed_up(lines, "bits") or {found[1]: found[2].replace(" to ", "-") for found in told if found}


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
