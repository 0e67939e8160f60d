"""Choice of candidates that share no place: every candidate claims its places, the highest key holds a place.

A candidate that holds all its places is independent of every other such candidate, on any device and in any
order of execution: the maximum does not depend on the order in which it is taken.

Source: Luby 1986, A simple parallel algorithm for the maximal independent set problem, with gains as
priorities.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def claim_kernel(
    candidate: wp.array[int],
    place: wp.array[int],
    key: wp.array[wp.int64],
    state: wp.array[int],
    owner: wp.array[wp.int64],
):
    i = wp.tid()
    c = candidate[i]
    if state[c] == 0:
        wp.atomic_max(owner, place[i], key[c])


@wp.kernel
def contest_kernel(
    candidate: wp.array[int],
    place: wp.array[int],
    key: wp.array[wp.int64],
    state: wp.array[int],
    owner: wp.array[wp.int64],
    beaten: wp.array[int],
):
    i = wp.tid()
    c = candidate[i]
    if state[c] == 0 and owner[place[i]] != key[c]:
        beaten[c] = 1


def contest(
    candidate: wp.array, place: wp.array, key: wp.array, state: wp.array, place_count: int
) -> wp.array:
    """Let candidates claim places: the highest key holds a place. Return 1 for those that lost one, shape
    (c,).

    Args:
        candidate, place: Pairs, shape (k,): this candidate wants this place.
        key: Priority of each candidate, shape (c,), int64, all different.
        state: 0 for candidates that take part, shape (c,).
        place_count: Number of places.
    """
    owner = wp.full(place_count, -1, dtype=wp.int64, device=key.device)
    beaten = wp.zeros(key.shape[0], dtype=int, device=key.device)
    pairs = [candidate, place, key, state]
    wp.launch(claim_kernel, dim=place.shape[0], inputs=pairs, outputs=[owner], device=key.device)
    wp.launch(contest_kernel, dim=place.shape[0], inputs=[*pairs, owner], outputs=[beaten], device=key.device)
    return beaten
