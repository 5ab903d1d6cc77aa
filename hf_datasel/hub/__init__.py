"""Cards people can check, selections others can apply. The only room that writes to the Hub."""

from hf_datasel.hub.card import render_card
from hf_datasel.hub.dataset import Published, publish
from hf_datasel.hub.loading import load_selection
from hf_datasel.hub.model import publish_model
from hf_datasel.hub.provenance import Source
from hf_datasel.hub.space import publish_page


__all__ = ["Published", "Source", "load_selection", "publish", "publish_model", "publish_page", "render_card"]
