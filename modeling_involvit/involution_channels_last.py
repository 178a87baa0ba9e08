"""Involution of channels last tensors on the CPU.

A tap multiplies the neighbouring channels of a group, a vector, by one number of the kernel tensor, which is read from
memory once and in order; so is x, and the result is written once. Axes are named as in involution.py; T is K * K.
"""

# ruff: noqa: ANN001, ANN201, ANN202 (what Numba compiles gets its types from Numba)

from __future__ import annotations

import numpy as np

from .numba_kernels import REGISTER_BYTES, cgutils, instructions, kernel, lanes, rows, sizes, tensors

VECTOR_BYTES = 64  # of 16 channels; LLVM cuts such vectors up where registers are shorter
PIXELS = min(4, REGISTER_BYTES // 8)  # of a row at once; with more, sums or addresses no longer fit in registers


@instructions(VECTOR_BYTES)
def _sum_taps(builder, vectors, at_edge, out, a, b, columns, counts):
    """Sums a * b over taps, for PIXELS neighbouring pixels n and all channels l of a vector.

    out[at + n * step + l] = sum over u, v of a[at + (u, v, n) . steps] * b[at + (u, v, n) . steps + l], where each
    of the three has its own `at` and steps. At the edge, terms are left out whose column first + (v, n) . steps is
    not in 0 .. width - 1, and nothing is written past the number of pixels or channels.
    """
    (out, out_at, out_step), (a, a_at, a_steps), (b, b_at, b_steps) = out, a, b
    (first, v_step, n_step, width), (num_u, num_v, num_pixels, num_channels) = columns, counts

    def mask_of(is_pixel):
        if not at_edge:
            return vectors.all_lanes
        return builder.and_(vectors.first_lanes(num_channels), vectors.splat(is_pixel))

    numbers = [width.type(n) for n in range(PIXELS)]
    sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in numbers]
    written = [builder.icmp_signed("<", n, num_pixels) for n in numbers]
    with cgutils.for_range(builder, num_u) as (u, _), cgutils.for_range(builder, num_v) as (v, _):
        a_index = vectors.at(a_at, (u, a_steps[0]), (v, a_steps[1]))
        b_index = vectors.at(b_at, (u, b_steps[0]), (v, b_steps[1]))
        for n, total, is_pixel in zip(numbers, sums, written, strict=True):
            if at_edge:
                is_column = builder.icmp_unsigned("<", vectors.at(first, (v, v_step), (n, n_step)), width)
                is_pixel = builder.and_(is_pixel, is_column)
                scale = builder.load(builder.gep(a, [builder.select(is_pixel, a_index, width.type(0))]))
                scale = builder.select(is_pixel, scale, scale.type(0.0))
            else:
                scale = builder.load(builder.gep(a, [a_index]))
            vectors.add_product(total, vectors.splat(scale), vectors.load(b, b_index, mask_of(is_pixel)))
            a_index, b_index = builder.add(a_index, a_steps[2]), builder.add(b_index, b_steps[2])
    for n, total, is_pixel in zip(numbers, sums, written, strict=True):
        vectors.store(builder.load(total), out, vectors.at(out_at, (n, out_step)), mask_of(is_pixel))


@instructions(REGISTER_BYTES)  # it keeps a sum for each lane
def _sum_channels(builder, vectors, at_edge, out, a, b, window, counts):
    """Sums a * b over the channels of a group, for as many taps t = first, first + 1 .. as a vector has lanes.

    out[at + t - first] = sum over d of a[at + d] * b[at + offset[t] + d], where each of the three has its own `at`.
    At the edge it is 0 where row top + u[t] or column left + v[t] is outside of the image, and nothing is written
    past the number of taps.
    """
    (out, out_at), (a, a_at), (b, b_at) = out, a, b
    (offset, u, v, first, top, left, height, width), (num_taps, num_channels) = window, counts

    def at(table, tap):
        return builder.load(builder.gep(table, [tap]))

    def is_seen(tap):
        row, column = builder.add(top, at(u, tap)), builder.add(left, at(v, tap))
        return builder.and_(builder.icmp_unsigned("<", row, height), builder.icmp_unsigned("<", column, width))

    sums = [cgutils.alloca_once_value(builder, vectors.zero) for _ in range(vectors.lanes)]
    taps = [builder.add(first, first.type(n)) for n in range(vectors.lanes)]
    indices = [builder.add(b_at, at(offset, tap)) for tap in taps]
    seen = [vectors.splat(is_seen(tap)) if at_edge else vectors.all_lanes for tap in taps]
    with cgutils.for_range_slice(builder, first.type(0), num_channels, first.type(vectors.lanes)) as (d, _):
        in_group = vectors.first_lanes(builder.sub(num_channels, d)) if at_edge else vectors.all_lanes
        a_lanes = vectors.load(a, builder.add(a_at, d), in_group)
        for total, index, mask in zip(sums, indices, seen, strict=True):
            b_lanes = vectors.load(b, builder.add(index, d), builder.and_(in_group, mask))
            vectors.add_product(total, a_lanes, b_lanes)
    result = vectors.sums([builder.load(total) for total in sums])
    vectors.store(result, out, out_at, vectors.first_lanes(num_taps) if at_edge else vectors.all_lanes)


@kernel
def forward(job):
    """From x and weight to the result; a row is one of an image."""
    (x, weight, out), (B, H, W, C, h, w, G, K, S) = tensors(job), sizes(job)
    T, D, padding, num_lanes = K * K, C // G, (K - 1) // 2, lanes(job, VECTOR_BYTES)
    for row in rows(job, B * h):
        b, i = row // h, row % h
        top = i * S - padding
        u, u_end = max(0, -top), min(K, H - top)
        for j in range(0, w, PIXELS):
            left = j * S - padding
            is_inside = D % num_lanes == 0 and j + PIXELS <= w and left >= 0 and left + (PIXELS - 1) * S + K <= W
            for g in range(G):
                weight_at = ((row * w + j) * G + g) * T + u * K
                for d in range(g * D, (g + 1) * D, num_lanes):
                    _sum_taps(
                        is_inside,
                        (out, (row * w + j) * C + d, C),
                        (weight, weight_at, (K, 1, G * T)),
                        (x, ((b * H + top + u) * W + left) * C + d, (W * C, C, S * C)),
                        (left, 1, S, W),
                        (u_end - u, K, w - j, (g + 1) * D - d),
                    )


@kernel
def grad_x(job):
    """From the gradient of the result and weight to the gradient of x."""
    (grad, weight, grad_x), (B, H, W, C, h, w, G, K, S) = tensors(job), sizes(job)
    # Pixel y, x is under tap u, v of output pixel (y + padding - u) / S, (x + padding - v) / S where S divides both:
    # pixels of the same phase x mod S are under the same taps, so they are taken together.
    T, D, padding, num_lanes = K * K, C // G, (K - 1) // 2, lanes(job, VECTOR_BYTES)
    for row in rows(job, B * H):
        b, y = row // H, row % H
        i, u = (y + padding) // S, (y + padding) % S
        skipped = max(0, i - h + 1)
        i, u = i - skipped, u + S * skipped
        num_u = max(0, min(i, (K - 1 - u) // S) + 1)
        for phase in range(S):
            v = (phase + padding) % S
            num_v, num_pixels = max(0, (K - 1 - v) // S + 1), (W - phase + S - 1) // S
            for n in range(0, num_pixels, PIXELS):
                j = (phase + padding) // S + n
                is_inside = D % num_lanes == 0 and n + PIXELS <= num_pixels and j - num_v + 1 >= 0 and j + PIXELS <= w
                for g in range(G):
                    weight_at = (((b * h + i) * w + j) * G + g) * T + u * K + v
                    for d in range(g * D, (g + 1) * D, num_lanes):
                        _sum_taps(
                            is_inside,
                            (grad_x, (row * W + phase + S * n) * C + d, S * C),
                            (weight, weight_at, (S * K - w * G * T, S - G * T, G * T)),
                            (grad, ((b * h + i) * w + j) * C + d, (-w * C, -C, C)),
                            (j, -1, 1, w),
                            (num_u, num_v, num_pixels - n, (g + 1) * D - d),
                        )


@kernel
def grad_weight(job):
    """From the gradient of the result and x to the gradient of weight."""
    (grad, x, grad_weight), (B, H, W, C, h, w, G, K, S) = tensors(job), sizes(job)
    T, D, padding, num_lanes = K * K, C // G, (K - 1) // 2, lanes(job, REGISTER_BYTES)
    tap = np.minimum(np.arange(T + num_lanes - 1), T - 1)  # the last vector may hold more than there are
    u, v = tap // K, tap % K
    offset = (u * W + v) * C
    for row in rows(job, B * h):
        b, top = row // h, row % h * S - padding
        for pixel in range(row * w, (row + 1) * w):
            left = (pixel - row * w) * S - padding
            is_inside = D % num_lanes == 0 and top >= 0 and top + K <= H and left >= 0 and left + K <= W
            for g in range(G):
                for start in range(0, T, num_lanes):
                    first = min(start, max(0, T - num_lanes))  # the last vector again holds taps of the one before
                    _sum_channels(
                        is_inside and first + num_lanes <= T,
                        (grad_weight, (pixel * G + g) * T + first),
                        (grad, pixel * C + g * D),
                        (x, ((b * H + top) * W + left) * C + g * D),
                        (offset, u, v, first, top, left, H, W),
                        (T - first, D),
                    )
