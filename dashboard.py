"""Make the project's dashboard in W&B: learning, generalisation, heads, pictures, comparison of a sweep's jobs.

    pip install -e '.[dashboard]'
    python dashboard.py ENTITY            # of the project ntm, or: python dashboard.py ENTITY PROJECT

It becomes a saved view of the project, beside your own; started again, it makes another. It needs an account (`wandb
login`) and asks for nothing else.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from conf.check import ConfigError, exit_on_mistake

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

SECTIONS = ("Learning", "Generalisation", "Heads", "Pictures", "Comparison")
HEADS = ("peak", "entropy", "gate", "strength", "shift", "sharpening", "erase", "add")
CONF = Path(__file__).parent / "conf"
TURNED = ("optimizer.lr", "task.batch_size", "controller.hidden_size", "memory.num_slots", "memory.num_read_heads")


def main() -> None:
    words = sys.argv[1:]
    if not words or {"-h", "--help"} & set(words):
        print(__doc__.strip())
        return
    with exit_on_mistake():
        if len(words) > 2:
            raise ConfigError(f"{words[2]} is one word too many. Give two at most: python dashboard.py ENTITY PROJECT.")
        try:
            made = dashboard(*words)
        except ModuleNotFoundError as error:
            raise ConfigError(f"{error}. Install it with pip install -e '.[dashboard]'.") from None
        import wandb

        try:
            made.save()
        except wandb.Error as error:
            raise ConfigError(
                f"{words[0]} gets no dashboard: {error} It takes `wandb login`, and an ENTITY that the account is of."
            ) from None
        print(made.url)


def dashboard(entity: str, project: str = "ntm") -> "Workspace":
    """The dashboard, which nobody has seen before it is saved.

    Raises:
        ModuleNotFoundError: wandb-workspaces is not installed.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def lines(*figures: str, **options: Any) -> wr.LinePlot:
        return wr.LinePlot(x="sequences", y=list(figures), title=", ".join(figures) or None, **options)

    learning = [
        lines("train/loss"),
        *(lines(f"val/{name}", log_y=name != "exact") for name in ("bits", "error_bits", "exact")),
        wr.ScalarChart(title="lowest cost", metric=wr.SummaryMetric("cost"), groupby_aggfunc="min"),
        wr.ScalarChart(title="seconds to solution", metric=wr.SummaryMetric("seconds_to_solution")),
    ]
    generalisation = [
        *(lines(f"far/{name}", log_y=name != "exact") for name in ("bits", "error_bits", "exact")),
        wr.BarPlot(
            title="wrong bits by test length",
            metrics=[wr.SummaryMetric(f"test/{length}/error_bits") for length in test_lengths()],
        ),
        wr.WeavePanelSummaryTable(table_name="test/lengths"),
        wr.WeavePanelSummaryTable(table_name="test/examples"),
    ]
    heads = [wr.LinePlot(x="sequences", title=name, metric_regex=f"head/.*/{name}") for name in HEADS]
    shown = [
        wr.MediaBrowser(title=name.replace("_", " "), media_keys=[f"figures/{name}"], num_columns=1)
        for name in pictures()
    ]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key)) for key in TURNED]
    comparison = [
        wr.ParallelCoordinatesPlot(
            columns=[*columns, wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric("cost"), log=True)]
        ),
        wr.ParameterImportancePlot(with_respect_to="cost"),
        wr.ScatterPlot(x=wr.SummaryMetric("seconds"), y=wr.SummaryMetric("cost"), log_y=True),
        wr.LinePlot(x="sequences", y=["val/bits"], title="val/bits by loss", groupby=wr.Config("loss._target_")),
        wr.RunComparer(diff_only="split"),
    ]
    panels: tuple[list[Any], ...] = (learning, generalisation, heads, shown, comparison)
    return ws.Workspace(
        entity=entity,
        project=project,
        name="Neural Turing Machines",
        sections=[
            ws.Section(name=name, panels=inside, is_open=True) for name, inside in zip(SECTIONS, panels, strict=True)
        ],
        settings=ws.WorkspaceSettings(x_axis="sequences"),
    )


def pictures() -> list[str]:
    """All that there are, by name."""
    return list(OmegaConf.load(CONF / "callbacks" / "pictures.yaml").defaults)


def test_lengths() -> list[str]:
    """Those of every task as it is configured, as results name them; W&B shows the ones that a run has."""
    from tasks.base import key

    asked = [length for path in sorted(CONF.glob("task/*.yaml")) for length in OmegaConf.load(path).test_lengths]
    return list(dict.fromkeys(key(length if isinstance(length, int) else tuple(length)) for length in asked))


if __name__ == "__main__":
    main()
