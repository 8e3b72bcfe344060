"""Training and inference throughput: sequences a second, and the fraction of the roof.

    python benchmarks/throughput.py --record

By default the paper's machine (LSTM 100, 128 x 20 slots, a read and a write head) on copy at length 20, 41 steps. One
update is forward, backward and a step of centred RMSProp; two of each are not counted. The roof is the rate of a large
float32 matrix product, measured in every round. Rivals that are not installed are left out, and the table says so.
"""

from measure import HEADINGS, WARM_UPS, Setting, Turns, flops, options, report, table
from rivals import MEMORIES, SIZES, why_not

# A paper's machine each, and the steps of its task: six items of recall, a sort of 20 vectors of 8 bits and a priority.
HEADS = {
    "recall, 4 heads, feedforward 256": Setting(
        controller="feedforward", hidden=256, heads=4, inputs=8, outputs=6, steps=33
    ),
    "sort, 8 heads, feedforward 512": Setting(
        controller="feedforward", hidden=512, heads=8, inputs=10, outputs=8, steps=37
    ),
    "sort, 5 heads, LSTM 2 x 100": Setting(heads=5, layers=2, inputs=10, outputs=8, steps=37),
}


def main() -> None:
    args = options(__doc__).parse_args()
    rounds, batches = (1, [1]) if args.quick else (args.rounds, [1, 16, 64, 256])
    quick = {"steps": 3, "slots": 16} if args.quick else {}
    missing = {engine: reason for engine in MEMORIES if not args.quick and (reason := why_not(engine))}
    rivals = ["lstm-1x100"] if args.quick else [*SIZES, *(engine for engine in MEMORIES if engine not in missing)]

    lines, rows = [f"One thread, {rounds} rounds, {WARM_UPS} warm-ups."], []
    with Turns(threads=1, rounds=rounds) as turns:
        for training in (True, False):
            for batch in batches:
                engines = ["fused", "eager", *rivals]
                settings = [Setting(engine=e, batch=batch, training=training, **quick) for e in engines]
                rows += turns.rows(settings, f"{'training' if training else 'inference'}, batch {batch}")
        shapes = {f"{name} 100": Setting(controller=name) for name in ("lstm", "gru", "feedforward")} | HEADS
        for label, shape in list(shapes.items())[-1 if args.quick else 0 :]:
            shape = shape._replace(**quick)
            cost = f"{label}, {flops(shape) / 1e3:,.0f} kFLOP a step, batch {shape.batch}"
            rows += turns.rows([shape, shape._replace(engine="eager")], cost)
    lines += ["", *table(HEADINGS, rows), "", *(f"- {name} left out: {why}" for name, why in missing.items()), ""]

    rows = []
    for threads in [1] if args.quick else [1, 2]:
        with Turns(threads, rounds) as turns:
            for batch in batches:
                rows += turns.rows([Setting(batch=batch, **quick)], f"{threads} thread(s), batch {batch}")
    lines += ["The fused engine by threads:", "", *table(HEADINGS[:-1], [row[:-1] for row in rows])]
    report("Throughput", lines, args.record)


if __name__ == "__main__":
    main()
