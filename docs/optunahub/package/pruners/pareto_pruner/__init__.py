"""The form in which OptunaHub loads ``nas.ParetoPruner``."""

from nas import ParetoPruner

__all__ = ["ParetoPruner"]
