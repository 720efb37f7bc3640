"""The fixtures of pools, for all tests of this folder."""

from acting_pool import acting_bench, clock, opened, pool, said

__all__ = ["acting_bench", "clock", "opened", "pool", "said"]
