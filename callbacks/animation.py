"""The memory while an episode runs, as an animated GIF."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.colors import Normalize
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from callbacks.base import Periodic
from callbacks.drawing import (
    BITS,
    READ,
    READ_WEIGHTING,
    READS,
    SIGNED,
    WRITE,
    WRITE_WEIGHTING,
    WRITES,
    Scale,
    bits_or_signed,
    signed,
    take,
    used_slots,
)
from callbacks.figures import memory_of, phase_at
from ntm.trace import Trace

MILLISECONDS, LAST = 100, 2000  # that a frame stays, and the last one
WIDTH, HEIGHT = 440, 340  # of the maps, in pixels; more where a cell would be too small to see
CHANNEL, HEAD = 7, 16  # pixels of a channel and of a head
MARGIN, CAPTION, GAP = 34, 24, 5
INK, LINE, NOW = "#333333", "#A0A0A0", "#CC79A7"
COLOURS = {"write": WRITE, "read": READ}
DEJAVU = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")  # the figures' own
FONT, SMALL = ImageFont.truetype(DEJAVU, 13), ImageFont.truetype(DEJAVU, 10)


class Animation(Periodic):
    """Logs `figures/animation` every `every` sequences and after a test: a GIF, ten steps a second.

    TensorBoard shows stills, so it gets the last frame.
    """

    name = "animation"
    caption = "The memory and its heads while the episode runs."
    suffix = ".gif"

    def save(self, trainer: L.Trainer, pl_module: Any, path: Path) -> bool:
        trace = self.trace(trainer, pl_module)
        if trace is None:
            return False
        write_gif(path, frames(trace, self.heading(trainer, pl_module)), MILLISECONDS)
        return True


def write_gif(path: Path, frames: list[Image.Image], milliseconds: int) -> None:
    """Frames that stay for so long, the last one longer, for ever."""
    # One palette for all: Pillow would choose one for every frame, slowly, and the colours would flicker.
    shared = palette()
    first, *others = (frame.quantize(palette=shared, dither=Image.Dither.NONE) for frame in frames)
    durations = [milliseconds] * len(others) + [LAST]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0)


def frames(trace: Trace, title: str) -> list[Image.Image]:
    """A picture for every step: input and output so far, over the memory with its heads on either side.

    From arrays straight to Pillow, for matplotlib's own animations take fifteen times as long.
    """
    memory = memory_of(trace)
    num_steps, num_slots, slot_width = memory.M.shape
    slots = used_slots(memory.w_write, memory.w_read)
    M = take(memory.M.transpose(1, 2), slots).transpose(1, 2)
    w_write, w_read = (take(w, slots).transpose(1, 2) for w in (memory.w_write, memory.w_read))

    step, row = max(2, WIDTH // num_steps), min(16, max(3, HEIGHT // len(slots)))
    heads = (w_write.shape[2] + w_read.shape[2]) * HEAD + 2 * GAP
    column = max(3, (step * num_steps - heads) // slot_width)
    inputs = coloured(trace.inputs.T, bits_or_signed(trace.inputs), step, CHANNEL)
    outputs = coloured(trace.outputs.T, BITS, step, CHANNEL)
    ends = (slots[0], slots[-1] % num_slots)

    pages = []
    for t in range(num_steps):
        now = (t + 1) * step
        block = beside(
            coloured(w_write[t], WRITE_WEIGHTING, HEAD, row),
            coloured(M[t], signed(memory.M), column, row),
            coloured(w_read[t], READ_WEIGHTING, HEAD, row),
        )
        maps = [
            Map(("input", phase_at(trace, t), f"t = {t}"), until(inputs, now)),
            Map(("output",), until(outputs, now)),
            Map(("write", "memory", "read"), block, ends),
        ]
        pages.append(page(title, maps))
    return pages


class Map(NamedTuple):
    """A picture under its names, from left to right, and the first and the last row's numbers beside it."""

    names: tuple[str, ...]
    image: Image.Image
    rows: tuple[int, int] | None = None


def page(title: str, maps: Sequence[Map]) -> Image.Image:
    """Maps below one another under their names, which are in the colours of the heads."""
    width = MARGIN + max(image.width for _, image, _ in maps) + 2 * GAP
    sheet = Image.new("RGB", (width, CAPTION + sum(image.height + CAPTION for _, image, _ in maps) + 2 * GAP), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), title, INK, FONT)
    y = CAPTION
    for names, image, rows in maps:
        y += CAPTION
        sheet.paste(image, (MARGIN, y))
        for i, name in enumerate(names):
            x = MARGIN + i * image.width // max(1, len(names) - 1)
            anchor = "l" if i == 0 else "r" if i == len(names) - 1 else "m"
            pen.text((x, y - GAP), name, COLOURS.get(name.split()[0] if name else "", INK), FONT, anchor + "s")
        if rows:
            pen.text((MARGIN - GAP, y), str(rows[0]), INK, SMALL, "ra")
            pen.text((MARGIN - GAP, y + image.height), str(rows[1]), INK, SMALL, "rb")
        y += image.height
    return sheet


def coloured(values: Float[Tensor, "rows columns"], scale: Scale, width: int, height: int) -> Image.Image:
    """A rectangle of `width` by `height` pixels for every value, in a thin frame."""
    within = Normalize(scale["vmin"], scale["vmax"])(values.numpy(force=True))
    cells = Image.fromarray(colormaps.get_cmap(scale["cmap"])(within, bytes=True)).convert("RGB")
    image = cells.resize((cells.width * width, cells.height * height), Image.Resampling.NEAREST)
    return framed(image)


def framed(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=LINE)
    return image


def beside(*images: Image.Image) -> Image.Image:
    """From left to right, with gaps."""
    row = Image.new("RGB", (sum(i.width for i in images) + GAP * (len(images) - 1), images[0].height), "white")
    x = 0
    for image in images:
        row.paste(image, (x, 0))
        x += image.width + GAP
    return row


def until(strip: Image.Image, now: int) -> Image.Image:
    """What has happened so far, up to a line at the present; the future is blank."""
    image = Image.new("RGB", strip.size, "white")
    image.paste(strip.crop((0, 0, now, strip.height)))
    framed(image)
    ImageDraw.Draw(image).line((now - 1, 0, now - 1, strip.height), NOW, 2)
    return image


def palette() -> Image.Image:
    """The 256 colours of a GIF: most for the memory, some for bits and heads, the rest for lines and letters."""
    # Pillow matches to within 4 in 256: greys any closer to white than these would tint the page.
    maps = [(SIGNED, 153), (colormaps["Greys"], 17), (WRITES, 40), (READS, 40)]
    colours = np.concatenate([cmap(np.linspace(0, 1, count), bytes=True)[:, :3] for cmap, count in maps])
    colours = np.concatenate([colours, [ImageColor.getrgb(colour) for colour in (INK, LINE, NOW, WRITE, READ)]])
    image = Image.new("P", (1, 1))
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image
