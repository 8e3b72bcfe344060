"""How checkpoints are written and read: whole or not at all, finite, and never running code."""

import io
import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import Tensor

REMEDY = "Give a run's checkpoints/last.ckpt to go on with it, its checkpoints/best.ckpt to measure it."


class Checkpoints(TorchCheckpointIO):
    """Lightning's files, on a local disk, such that a kill or a full disk at any moment leaves the old one or the new.

    Lightning writes to the folder for temporary files and moves that; from one filesystem to another, a move is a copy
    that can be cut off. Here the new file grows beside the old one, reaches the disk and then takes its name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            FloatingPointError: a number in it is not finite.
            OSError: it could not be written; what was there before still is.
        """
        for part in ("state_dict", "current_model_state", "optimizer_states"):
            for name, tensor in tensors(checkpoint.get(part), part):
                if tensor.is_floating_point() and not tensor.isfinite().all():
                    raise FloatingPointError(f"{name} is not finite, so no checkpoint was written.")
        data = io.BytesIO()
        torch.save(checkpoint, data)
        path = Path(path)
        half = path.with_suffix(".half")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with half.open("wb") as file:
                file.write(data.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
            sync(path.parent)
        except OSError as error:
            try:
                half.unlink(missing_ok=True)
            finally:
                kept = "The one before it is whole. " if path.exists() else ""
                text = f"{path} could not be written ({error.strerror}). {kept}Mend that, or make room, then go on."
                raise OSError(error.errno, text) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint as plain data, whatever `weights_only` says; raises as `read_checkpoint`."""
        checkpoint = read(str(path))
        if "callbacks" in checkpoint:  # not in the weights that a forked process hands back
            follow(checkpoint, Path(path).resolve().parent)
        return checkpoint


def follow(checkpoint: dict[str, Any], folder: Path) -> None:
    """Have Lightning's callbacks look for their files in the checkpoint's folder, which may have been moved."""
    for state in checkpoint["callbacks"].values():
        if "dirpath" in state:
            for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state[name] = str(folder / file_name(state[name])) if state[name] else ""
            state["best_k_models"] = {str(folder / file_name(path)): k for path, k in state["best_k_models"].items()}
            state["dirpath"] = str(folder)


def file_name(path: str) -> str:
    """Of a path of any system."""
    return PureWindowsPath(path).name


def sync(folder: Path) -> None:
    """Have the names in a folder reach the disk, where the system can do that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def tensors(tree: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested containers, with its place."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from tensors(value, f"{name}.{key}")


def read_checkpoint(path: str, key: str = "checkpoint") -> dict[str, Any]:
    """The weights and the configuration in a checkpoint, which a setting names; no code in it is ever run.

    Raises:
        ValueError: there is no such file, or it is not a checkpoint of a Learner.
    """
    checkpoint = read(path, key)
    if not {"state_dict", "config", "sequences"} <= checkpoint.keys():
        raise ValueError(f"{key}={path} is damaged, or not a checkpoint of this project. {REMEDY}")
    return checkpoint


def read(path: str, key: str = "checkpoint") -> dict[str, Any]:
    """A dictionary of plain data.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    if not Path(path).is_file():
        raise ValueError(f"{key}={path} is not a file. {REMEDY}")
    try:
        # torch takes no notice of a bit that has flipped, the checksums of the archive do.
        sound = is_zipfile(path) and ZipFile(path).testzip() is None
        checkpoint = torch.load(path, map_location="cpu", weights_only=True) if sound else None
    except Exception as error:  # whatever zipfile, pickle and torch say of a file that is not theirs
        raise ValueError(f"{key}={path} cannot be read: it is damaged, or not plain data.") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{key}={path} is damaged, or not a checkpoint of this project. {REMEDY}")
    return checkpoint
