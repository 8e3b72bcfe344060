"""The controllers' cells for one sequence at one step: from gates before squashing to h; and the gradients.

z[layer, b, step] holds the gates before squashing and, afterwards, squashed. h[b] takes what the cell says. In the
backward pass dh[b] is the gradient of that, dz takes the gradient of the gates before squashing, and du, which is zero
at first, what reaches the previous h other than through the gates.
"""

from ntm.fused.compiled import stage
from ntm.fused.elementary import sigmoid, tanh
from ntm.fused.simd import LANES, larger, load_first, spread, store_first, where_below

LSTM, GRU, FEEDFORWARD = 0, 1, 2


# -- LSTM: c = f c_prev + i g,  h = o tanh(c);  gates i, f, g, o as torch.nn.LSTMCell has them -------------------------


@stage
def lstm_forward(z, c, h, layer, b, step, prev, now, size):
    for n in range(0, size, LANES):
        rest = size - n
        at_i, at_f = (layer, b, step, n), (layer, b, step, size + n)
        at_g, at_o = (layer, b, step, 2 * size + n), (layer, b, step, 3 * size + n)
        i, f = sigmoid(load_first(z, at_i, rest)), sigmoid(load_first(z, at_f, rest))
        g, o = tanh(load_first(z, at_g, rest)), sigmoid(load_first(z, at_o, rest))
        cell = f * load_first(c, (layer, b, prev, n), rest) + i * g
        store_first(z, at_i, i, rest)
        store_first(z, at_f, f, rest)
        store_first(z, at_g, g, rest)
        store_first(z, at_o, o, rest)
        store_first(c, (layer, b, now, n), cell, rest)
        store_first(h, (b, n), o * tanh(cell), rest)


@stage
def lstm_backward(z, dz, c, dc, dh, layer, b, step, prev, now, size):
    for n in range(0, size, LANES):
        rest = size - n
        at_i, at_f = (layer, b, step, n), (layer, b, step, size + n)
        at_g, at_o = (layer, b, step, 2 * size + n), (layer, b, step, 3 * size + n)
        i, f = load_first(z, at_i, rest), load_first(z, at_f, rest)
        g, o = load_first(z, at_g, rest), load_first(z, at_o, rest)
        y = tanh(load_first(c, (layer, b, now, n), rest))
        d = load_first(dh, (b, n), rest)
        dcell = load_first(dc, (layer, b, n), rest) + d * o * (1.0 - y * y)
        store_first(dz, at_i, dcell * g * i * (1.0 - i), rest)
        store_first(dz, at_f, dcell * load_first(c, (layer, b, prev, n), rest) * f * (1.0 - f), rest)
        store_first(dz, at_g, dcell * i * (1.0 - g * g), rest)
        store_first(dz, at_o, d * y * o * (1.0 - o), rest)
        store_first(dc, (layer, b, n), dcell * f, rest)


# -- GRU: n = tanh(n_x + r n_h),  h = (1 - u) n + u h_prev;  gates r, u, n_x, n_h as torch.nn.GRUCell has them --------
#    n_x is what the input says and n_h what the previous h says; h_prev stands first in u[layer, b, step].


@stage
def gru_forward(z, u, h, layer, b, step, size):
    for n in range(0, size, LANES):
        rest = size - n
        at_r, at_u, at_n = (layer, b, step, n), (layer, b, step, size + n), (layer, b, step, 2 * size + n)
        r, update = sigmoid(load_first(z, at_r, rest)), sigmoid(load_first(z, at_u, rest))
        new = tanh(load_first(z, at_n, rest) + r * load_first(z, (layer, b, step, 3 * size + n), rest))
        store_first(z, at_r, r, rest)
        store_first(z, at_u, update, rest)
        store_first(z, at_n, new, rest)
        store_first(h, (b, n), new + update * (load_first(u, at_r, rest) - new), rest)


@stage
def gru_backward(z, dz, u, du, dh, layer, b, step, size):
    for n in range(0, size, LANES):
        rest = size - n
        at_r, at_u, at_n = (layer, b, step, n), (layer, b, step, size + n), (layer, b, step, 2 * size + n)
        at_h = (layer, b, step, 3 * size + n)
        r, update, new = load_first(z, at_r, rest), load_first(z, at_u, rest), load_first(z, at_n, rest)
        d = load_first(dh, (b, n), rest)
        dn = d * (1.0 - update) * (1.0 - new * new)
        store_first(dz, at_r, dn * load_first(z, at_h, rest) * r * (1.0 - r), rest)
        store_first(dz, at_u, d * (load_first(u, at_r, rest) - new) * update * (1.0 - update), rest)
        store_first(dz, at_n, dn, rest)
        store_first(dz, at_h, dn * r, rest)
        store_first(du, (layer, b, n), d * update, rest)


# -- feedforward: h = relu(z).  To change what the units pass through: here, and in `ntm.controllers.feedforward`.


@stage
def feedforward_forward(z, h, layer, b, step, size):
    for n in range(0, size, LANES):
        y = larger(load_first(z, (layer, b, step, n), size - n), spread(0.0))
        store_first(z, (layer, b, step, n), y, size - n)
        store_first(h, (b, n), y, size - n)


@stage
def feedforward_backward(z, dz, dh, layer, b, step, size):
    for n in range(0, size, LANES):
        y = load_first(z, (layer, b, step, n), size - n)
        d = where_below(spread(0.0), y, load_first(dh, (b, n), size - n), spread(0.0))
        store_first(dz, (layer, b, step, n), d, size - n)
