"""The notebook runs, and what it shows is what it computes."""

import pytest
from fakes import ROOT

nbformat = pytest.importorskip("nbformat", reason="the notebook runs with nbclient and ipykernel, of the test extra")
nbclient = pytest.importorskip("nbclient", reason="the notebook runs with nbclient and ipykernel, of the test extra")


def printed(notebook) -> list[str]:
    """What each cell printed and returned, without its pictures."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(output.get("text") or output.data["text/plain"] for output in cell.outputs) for cell in cells]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # between the packages of Jupyter
def test_the_walkthrough_computes_what_it_shows(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # or the notebook would draw where nobody looks
    notebook = nbformat.read(ROOT / "docs/walkthrough.ipynb", as_version=4)
    shown = printed(notebook)

    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()

    assert printed(notebook) == shown
    assert any(
        any(output.get("data", {}).get("image/png") for output in cell.get("outputs", [])) for cell in notebook.cells
    )


def test_the_walkthrough_is_small():
    assert (ROOT / "docs/walkthrough.ipynb").stat().st_size < 100_000
