"""The gallery is what its script draws, small enough for a repository, and told in words, too."""

import re
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from fakes import ROOT, TINY, compose
from PIL import Image

import train
from docs.gallery import gallery, sorting

LINKS = re.compile(r"!\[(.*?)\]\((images/.*?)\)")


def test_the_gallery_draws_a_machine_from_its_checkpoint_alone(tmp_path):
    words = [word for word in TINY if not word.startswith(("callbacks", "engine"))]
    torch.manual_seed(1)
    task, learner, trainer = train.build(
        compose(*words, "engine=eager", "callbacks=[last,film]", output_dir=tmp_path / "run")
    )
    trainer.fit(learner, datamodule=task)

    gallery([f"copy={tmp_path / 'run/checkpoints/last.ckpt'}"], tmp_path)

    text = (tmp_path / "gallery.md").read_text()
    links = dict(reversed(link) for link in LINKS.findall(text))
    names = [re.sub(r"images/gallery_copy_(\w+)\.\w+", r"\1", path) for path in links]
    expected = "generalisation lengths weightings written_and_read film animation memory evolution addressing learning"
    assert names == expected.split()
    assert all((tmp_path / path).exists() and len(alt) > 30 for path, alt in links.items())


def test_a_machine_that_sorts_shows_two_diagonals():
    """Four vectors go to slots in the order they come; three are read, the highest priority first."""
    priority, looked_up = torch.tensor([0.1, 0.9, -0.5, 0.4, 0.0, 0.0, 0.0, 0.0]), [1, 3, 0]
    focus = torch.eye(6).unsqueeze(1)
    trace = Mock(
        phases=(("input", 0), ("delimiter", 4), ("answer", 5)),
        memory=Mock(w_write=torch.cat([focus[:4], focus[:4]]), w_read=torch.cat([focus[:5], focus[looked_up]])),
    )
    written, read = (ax.images[0].get_array() for ax in sorting(trace, priority).axes if ax.images and ax.get_xlabel())
    np.testing.assert_array_equal(read, np.eye(3))
    np.testing.assert_array_equal(written, np.eye(3, 4))


@pytest.mark.parametrize("page", ["README.md", "docs/findings.md", "docs/gallery.md"])
def test_pictures_in_the_documents_are_there_small_and_described(page):
    links = re.findall(r"!\[(.*?)\]\((.*?\.(?:png|gif|svg))\)", (ROOT / page).read_text(), re.DOTALL)
    assert links
    for alt, path in links:
        file = (ROOT / page).parent / path
        assert len(alt) > 30
        assert file.stat().st_size < 300_000
        with Image.open(file) as image:
            assert image.width > 300


def test_the_pictures_of_the_documents_are_no_burden():
    assert sum(path.stat().st_size for path in (ROOT / "docs/images").iterdir()) < 3_000_000
