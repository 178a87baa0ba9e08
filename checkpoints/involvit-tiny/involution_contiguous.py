"""Involution of stride 1 of contiguous tensors on the CPU.

A tap multiplies neighbouring pixels of a row, a vector, by as many of another row; one of the two vectors is used
CHANNELS times over. Axes are named as in involution.py; T is K * K.
"""

# ruff: noqa: ANN001, ANN201, ANN202 (what Numba compiles gets its types from Numba)

from __future__ import annotations

from .numba_kernels import REGISTER_BYTES, cgutils, instructions, kernel, lanes, rows, sizes, tensors

CHANNELS = 8  # at once: eight sums keep the multipliers busy


@instructions(REGISTER_BYTES)
def _sum_rows(builder, vectors, at_edge, out, a, b, width, counts):
    """Sums a * b over u and v, for CHANNELS numbers n and as many neighbouring pixels l as a vector has lanes.

    out[at + n * step + l] = sum over u, v of a[at + (u, v) . steps + l] * b[at + (u, v, n) . steps + l], where each of
    the three has its own `at` and steps. At the edge, terms are left out whose column is not in 0 .. width - 1, for a
    first + v * step + l and for b first + (v, n) . steps + l, and nothing is written past the last pixel.
    """
    (out, out_at, out_step), (a, a_at, a_steps, a_columns), (b, b_at, b_steps, b_columns) = out, a, b
    num_u, num_v, num_pixels, num_n = counts

    def mask_of(column):
        if not at_edge:
            return vectors.all_lanes
        is_before = vectors.first_lanes(builder.neg(column))
        return builder.and_(vectors.first_lanes(builder.sub(width, column)), builder.not_(is_before))

    in_row = vectors.first_lanes(num_pixels) if at_edge else vectors.all_lanes
    last = builder.sub(num_n, num_n.type(1))
    is_written = [builder.icmp_signed("<=", num_n.type(n), last) for n in range(CHANNELS)]
    numbers = [builder.select(is_n, num_n.type(n), last) for n, is_n in enumerate(is_written)]
    sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in numbers]
    with cgutils.for_range(builder, num_u) as (u, _), cgutils.for_range(builder, num_v) as (v, _):
        a_index = vectors.at(a_at, (u, a_steps[0]), (v, a_steps[1]))
        a_lanes = vectors.load(a, a_index, mask_of(vectors.at(a_columns[0], (v, a_columns[1]))))
        b_index = vectors.at(b_at, (u, b_steps[0]), (v, b_steps[1]))
        b_column = vectors.at(b_columns[0], (v, b_columns[1]))
        for n, total in zip(numbers, sums, strict=True):
            mask = mask_of(vectors.at(b_column, (n, b_columns[2])))
            vectors.add_product(total, a_lanes, vectors.load(b, vectors.at(b_index, (n, b_steps[2])), mask))
    for n, is_n, total in zip(numbers, is_written, sums, strict=True):
        with builder.if_then(is_n):
            vectors.store(builder.load(total), out, vectors.at(out_at, (n, out_step)), in_row)


@kernel
def forward(job):
    """From x and weight to the result; a row is one of an image and group."""
    (x, weight, out), (B, H, W, C, _, _, G, K, _) = tensors(job), sizes(job)
    T, D, padding, num_lanes = K * K, C // G, (K - 1) // 2, lanes(job, REGISTER_BYTES)
    for row in rows(job, B * G * H):
        group, i = row // H, row % H
        top = i - padding
        u, u_end = max(0, -top), min(K, H - top)
        for start in range(0, W, num_lanes):
            j = min(start, max(0, W - num_lanes))  # the last vector again holds pixels of the one before
            left = j - padding
            is_inside = left >= 0 and left + K - 1 + num_lanes <= W
            for d in range(0, D, CHANNELS):
                plane = group * D + d
                _sum_rows(
                    is_inside,
                    (out, (plane * H + i) * W + j, H * W),
                    (weight, ((group * T + u * K) * H + i) * W + j, (K * H * W, H * W), (j, 0)),
                    (x, (plane * H + top + u) * W + left, (W, 1, H * W), (left, 1, 0)),
                    W,
                    (u_end - u, K, W - j, D - d),
                )


@kernel
def grad_x(job):
    """From the gradient of the result and weight to the gradient of x."""
    # Pixel y, x is under tap u, v of output pixel y + padding - u, x + padding - v.
    (grad, weight, grad_x), (B, H, W, C, _, _, G, K, _) = tensors(job), sizes(job)
    T, D, padding, num_lanes = K * K, C // G, (K - 1) // 2, lanes(job, REGISTER_BYTES)
    for row in rows(job, B * G * H):
        group, y = row // H, row % H
        i = y + padding
        u, u_end = max(0, i - H + 1), min(K, i + 1)
        for start in range(0, W, num_lanes):
            x = min(start, max(0, W - num_lanes))
            j = x + padding
            is_inside = j - K + 1 >= 0 and j + num_lanes <= W
            for d in range(0, D, CHANNELS):
                plane = group * D + d
                _sum_rows(
                    is_inside,
                    (grad_x, (plane * H + y) * W + x, H * W),
                    (weight, ((group * T + u * K) * H + i - u) * W + j, ((K * H - 1) * W, H * W - 1), (j, -1)),
                    (grad, (plane * H + i - u) * W + j, (-W, -1, H * W), (j, -1, 0)),
                    W,
                    (u_end - u, K, W - x, D - d),
                )


@kernel
def grad_weight(job):
    """From the gradient of the result and x to the gradient of weight."""
    (grad, x, grad_weight), (B, H, W, C, _, _, G, K, _) = tensors(job), sizes(job)
    T, D, padding, num_lanes = K * K, C // G, (K - 1) // 2, lanes(job, REGISTER_BYTES)
    for row in rows(job, B * G * H):
        group, i = row // H, row % H
        for start in range(0, W, num_lanes):
            j = min(start, max(0, W - num_lanes))
            for u in range(K):
                top = i + u - padding
                for v in range(0, K, CHANNELS):
                    left = j + v - padding
                    is_inside = left >= 0 and left + CHANNELS - 1 + num_lanes <= W
                    _sum_rows(
                        is_inside,
                        (grad_weight, ((group * T + u * K + v) * H + i) * W + j, H * W),
                        (grad, (group * D * H + i) * W + j, (H * W, 0), (j, 0)),
                        (x, (group * D * H + top) * W + left, (H * W, 0, 1), (left, 0, 1)),
                        W,
                        (D if 0 <= top < H else 0, 1, W - j, K - v),
                    )
