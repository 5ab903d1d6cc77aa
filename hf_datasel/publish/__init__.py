"""Cards people can check. The only room that writes to the Hub."""

from hf_datasel.publish.card import render_card


__all__ = ["render_card"]
