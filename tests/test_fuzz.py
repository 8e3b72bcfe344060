"""Whatever is typed ends as a run or in one line, never in somebody else's stack trace.

`EXAMPLES=2000 pytest tests/test_fuzz.py` tries more of it.
"""

import contextlib
import io
import logging
import os
import string
import sys
from pathlib import Path

from fakes import compose
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import train
from conf.check import cli, entries

KEYS = [key for key, _ in entries(OmegaConf.to_container(compose()))] + [
    "checkpoint",
    "hydra.run.dir",
    "nothing",
    "a.b",
]
GROUPS = [
    "task",
    "controller",
    "memory",
    "loss",
    "optimizer",
    "scheduler",
    "callbacks",
    "logger",
    "experiment",
    "debug",
]
VALUES = [
    *("0", "-1", "1", "2.5", "1e400", "nan", "-inf", "null", "true", "''", "[]", "{}", "[1,2]", "{a:1}", "[[1],[2]]"),
    *("99999999999999999999", "text", "a b", "'", '"', "[", "}", "${", "${seed}", "${nothing}", "${oc.env:HOME}", "\\"),
    *("ä", "😀", "../x", "~", "$x", "a=b", "a,b", "range(3)", "choice(1,2)", "torch.load", "os.system", "0x10", "1_0"),
    *("copy", "recall", "lstm", "none", "csv", "huber", "@x", "key@pkg", "", "\t", "null.null", "[null]", "-", "--"),
]
FLAGS = ["--seed=3", "-x", "--cfg", "--cfg=nothing", "--config-name=x", "-cd=x", "--", "-", "--package=a.b", "--help=1"]
SETTINGS = st.builds(
    lambda prefix, key, equals, value: f"{prefix}{key}{equals}{value}",
    st.sampled_from(["", "", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS) | st.sampled_from(GROUPS),
    st.sampled_from(["=", "=", "=", "=", "", "==", " = "]),
    st.sampled_from(VALUES),
)
NOISE = st.text(string.printable + "äπ😀", min_size=1, max_size=8)
WORDS = st.lists(st.one_of(SETTINGS, SETTINGS, SETTINGS, SETTINGS, NOISE, st.sampled_from(FLAGS)), max_size=3)


@settings(max_examples=int(os.environ.get("EXAMPLES", 20)))
@given(words=WORDS)
def test_whatever_is_typed_is_a_run_or_one_line(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    out, err = io.StringIO(), io.StringIO()
    handlers, argv, where, run = [*logging.root.handlers], sys.argv, Path.cwd(), train.run
    GlobalHydra.instance().clear()
    code: object = 0
    try:
        os.chdir(folder)
        os.environ["HYDRA_FULL_ERROR"] = "1"
        sys.argv, train.run = [train.__file__, "logger=csv", *words], lambda cfg: 0.0  # all but the training
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli(train.main)
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        os.chdir(where)
        sys.argv, train.run = argv, run
        GlobalHydra.instance().clear()
        for handler in {*logging.root.handlers} - {*handlers}:
            logging.root.removeHandler(handler)
            handler.close()
    if code:
        assert code == 2
        (line,) = err.getvalue().splitlines()
        assert line.startswith("error: ")
        assert [*folder.iterdir()] == []
