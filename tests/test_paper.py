"""The paper's experiments are composed as tables 1 to 3 say, and run."""

import pytest
import torch
from fakes import ROOT, TINY, compose

import train

# The tables: heads, hidden units of a layer, layers, learning rate.
TABLES = {
    "copy_ntm_feedforward": (1, 100, 1, 1e-4),
    "repeat_copy_ntm_feedforward": (1, 100, 1, 1e-4),
    "recall_ntm_feedforward": (4, 256, 1, 1e-4),
    "ngrams_ntm_feedforward": (1, 100, 1, 3e-5),
    "sort_ntm_feedforward": (8, 512, 1, 3e-5),
    "copy_ntm_lstm": (1, 100, 1, 1e-4),
    "repeat_copy_ntm_lstm": (1, 100, 1, 1e-4),
    "recall_ntm_lstm": (1, 100, 1, 1e-4),
    "ngrams_ntm_lstm": (1, 100, 1, 3e-5),
    "sort_ntm_lstm": (5, 100, 2, 3e-5),
    "copy_lstm": (None, 256, 3, 3e-5),
    "repeat_copy_lstm": (None, 512, 3, 3e-5),
    "recall_lstm": (None, 256, 3, 1e-4),
    "ngrams_lstm": (None, 128, 3, 1e-4),
    "sort_lstm": (None, 128, 3, 3e-5),
}
SMALL = tuple(setting for setting in TINY if not setting.startswith(("callbacks", "task.batch_size")))


def test_there_is_an_experiment_for_every_cell_of_the_tables_and_no_other():
    assert {path.stem for path in (ROOT / "conf/experiment/paper").glob("*.yaml")} == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_an_experiment_is_what_its_table_says(name):
    heads, hidden, layers, lr = TABLES[name]
    cfg = compose(f"experiment=paper/{name}")
    task, model = next(
        (name.removesuffix(model), model) for model in ("_ntm_feedforward", "_ntm_lstm", "_lstm") if model in name
    )
    as_drawn = ["task.sparse_rate=0", "task.skewed_rate=0"] if task == "copy" else []
    assert cfg.task == compose(f"task={task}", "task.batch_size=1", "task.noise=0", *as_drawn).task
    assert cfg.controller._target_.endswith(
        {"_ntm_feedforward": "FeedforwardController", "_ntm_lstm": ".LSTMController", "_lstm": "DeepLSTMController"}[
            model
        ]
    )
    assert (cfg.controller.hidden_size, cfg.controller.num_layers) == (hidden, layers)
    assert (cfg.memory.get("num_read_heads"), cfg.memory.get("num_write_heads")) == (heads, heads)
    if heads:
        assert (cfg.memory.num_slots, cfg.memory.slot_width) == (128, 20)
        starts = (cfg.memory.initial_memory, cfg.memory.initial_weighting, cfg.memory.initial_reads)
        assert starts == ("learned", "learned", "learned")
        assert cfg.memory.gradient_clip_val == 10
        assert cfg.memory.squash
    assert cfg.controller.get("initial_state", "learned") == "learned"
    assert cfg.optimizer == compose("optimizer=graves", f"optimizer.lr={lr}").optimizer
    assert (cfg.trainer.gradient_clip_algorithm, cfg.trainer.gradient_clip_val) == ("value", 10)
    assert "solved" not in cfg.callbacks  # nothing ends it early, nothing changes its rate


@pytest.mark.parametrize("name", TABLES)
def test_an_experiment_trains(name, tmp_path):
    changed = "callbacks=[none,heads]", "callbacks.progress.refresh_rate=0", "task.num_bits=2"
    cfg = compose(f"experiment=paper/{name}", *SMALL, *changed[: 2 if "ngrams" in name else 3], output_dir=tmp_path)
    torch.manual_seed(cfg.seed)
    task, learner, trainer = train.build(cfg)
    before = [p.detach().clone() for p in learner.parameters() if p.numel()]
    trainer.fit(learner, datamodule=task)
    after = [p for p in learner.parameters() if p.numel()]
    assert all(p.isfinite().all() for p in after)
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))  # all is learned
    assert learner.sequences == 2
