"""The stages in order.

Add one by writing `stages/<verb>.py` with a config dataclass, a function and its `STAGE` record, listing it in
`STAGES`, and adding `conf/<verb>/`.
"""
